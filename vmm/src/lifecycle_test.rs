use super::*;

const STATES: [State; 3] = [State::Paused, State::Running, State::Stopped];
const REQUESTS: [Request; 5] =
    [Request::Resume, Request::Pause, Request::Reset, Request::PowerButton, Request::Stop];

#[test]
fn the_table() {
    use {Action as A, Request as R, State as S};
    let table = [
        (S::Paused, R::Resume, Some((A::Start, S::Running))),
        (S::Paused, R::Pause, Some((A::Nothing, S::Paused))),
        (S::Paused, R::Reset, Some((A::ResetOnly, S::Paused))),
        (S::Paused, R::PowerButton, None),
        (S::Paused, R::Stop, Some((A::End, S::Stopped))),
        (S::Running, R::Resume, Some((A::Nothing, S::Running))),
        (S::Running, R::Pause, Some((A::Quiesce, S::Paused))),
        (S::Running, R::Reset, Some((A::ResetAndStart, S::Running))),
        (S::Running, R::PowerButton, Some((A::PressPowerButton, S::Running))),
        (S::Running, R::Stop, Some((A::End, S::Stopped))),
        (S::Stopped, R::Resume, None),
        (S::Stopped, R::Pause, None),
        (S::Stopped, R::Reset, None),
        (S::Stopped, R::PowerButton, None),
        (S::Stopped, R::Stop, Some((A::Nothing, S::Stopped))),
    ];
    assert_eq!(table.len(), STATES.len() * REQUESTS.len());
    for (state, request, expected) in table {
        assert_eq!(decide(state, request).ok(), expected, "{state:?} {request:?}");
    }
}

#[test]
fn a_stopped_machine_stays_stopped() {
    for request in REQUESTS {
        if let Ok((_, after)) = decide(State::Stopped, request) {
            assert_eq!(after, State::Stopped);
        }
    }
}

#[test]
fn twice_is_the_same_as_once() {
    for state in STATES {
        for request in [Request::Resume, Request::Pause, Request::Stop] {
            if let Ok((_, after)) = decide(state, request) {
                assert_eq!(decide(after, request), Ok((Action::Nothing, after)));
            }
        }
    }
}

#[test]
fn a_refusal_names_both() {
    let text = decide(State::Stopped, Request::Pause).unwrap_err().to_string();
    assert!(text.contains("Stopped") && text.contains("Pause"), "{text}");
}
