use std::cell::Cell;

use super::*;

#[test]
fn who_has_no_patience_looks_once() {
    let looks = Cell::new(0);
    let news = Patience::default().look_out(None, || {
        looks.set(looks.get() + 1);
        false
    });
    assert!(!news);
    assert_eq!(looks.get(), 1);
}

#[test]
fn patience_grows_while_news_come_soon_and_ends_when_they_do_not() {
    if !can_afford() {
        return;
    }
    let mut patience = Patience::default();
    let mut seen = Vec::new();
    for _ in 0..8 {
        patience.learn(MOST);
        seen.push(patience.now);
    }
    assert_eq!(seen[0], FIRST);
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&MOST));
    // News that come within it leave it as it is.
    patience.learn(FIRST);
    assert_eq!(patience.now, MOST);
    patience.learn(MOST + Duration::from_nanos(1));
    assert_eq!(patience.now, Duration::ZERO);
}

#[test]
fn news_are_seen_while_looking_out() {
    let patience = Patience { now: Duration::from_secs(60) };
    let looks = Cell::new(0);
    let news = patience.look_out(None, || {
        looks.set(looks.get() + 1);
        looks.get() == 100
    });
    assert!(news);
}

#[test]
fn the_time_to_be_awake_ends_a_look_out() {
    let patience = Patience { now: Duration::from_secs(60) };
    let until = Instant::now() + Duration::from_millis(2);
    let news = patience.look_out(Some(until), || false);
    assert!(!news);
    assert!(Instant::now() >= until);
}
