use super::{Area, Field, Width, WriteRight};

#[test]
fn encodings_ascend_and_are_even_and_below_the_maximum() {
    for pair in Field::ALL.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{:?} and {:?}", pair[0], pair[1]);
    }
    for field in Field::ALL {
        assert_eq!(field.0 & 1, 0, "{field:?} is the high half of another");
        assert!(field.0 < Field::MAX);
    }
}

#[test]
fn names_tell_the_area_their_encoding_has() {
    for &field in Field::ALL {
        let expected = match field.name().unwrap().split('_').next().unwrap() {
            "CTRL" => Area::Control,
            "RO" => Area::ReadOnlyData,
            "HOST" => Area::Host,
            _ if field == Field::GUEST_PHYSICAL_ADDRESS => Area::ReadOnlyData,
            _ => Area::Guest,
        };
        assert_eq!(field.area(), expected, "{field:?}");
    }
}

#[test]
fn widths_follow_the_encoding() {
    assert_eq!(Field::GUEST_CS.width(), Width::Bits16);
    assert_eq!(Field::GUEST_IA32_EFER.width(), Width::Bits64);
    assert_eq!(Field::GUEST_CS_AR.width(), Width::Bits32);
    assert_eq!(Field::GUEST_RIP.width(), Width::Natural);
}

#[test]
fn nothing_written_by_an_exit_or_of_the_host_is_writable() {
    for &field in Field::ALL {
        if matches!(field.area(), Area::ReadOnlyData | Area::Host) {
            assert!(
                matches!(field.write_right(), Some(WriteRight::ReadOnly | WriteRight::Never)),
                "{field:?}"
            );
        }
    }
}
