//! `hv_vcpu_read_register`, `hv_vcpu_write_register`, `hv_vcpu_read_fpstate`, `hv_vcpu_write_fpstate`.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{ExitReason, Reg};
use iced_x86::code_asm::*;

use crate::guest::Guest;
use crate::provider::each;

fn idle(provider: &crate::provider::Provider) -> Guest {
    Guest::long(provider, &|a| a.hlt())
}

#[test]
fn general_registers_round_trip_one_by_one() {
    each(|provider| {
        let mut guest = idle(provider);
        for number in 0..16_u8 {
            guest.set_reg(Reg::gpr(number), 0x0102_0304_0506_0700 | u64::from(number));
        }
        for number in 0..16_u8 {
            assert_eq!(guest.reg(Reg::gpr(number)), 0x0102_0304_0506_0700 | u64::from(number));
        }
    });
}

#[test]
fn general_registers_are_the_ones_the_guest_sees() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.xchg(rsi, rsp)?;
            a.xchg(rdi, rbp)?;
            a.xchg(rax, r15)?;
            a.xchg(rcx, rbx)?;
            a.hlt()
        });
        let before = [Reg::RSI, Reg::RSP, Reg::RDI, Reg::RBP, Reg::RAX, Reg::R15, Reg::RCX, Reg::RBX];
        for (reg, value) in before.into_iter().zip(0x10..) {
            guest.set_reg(reg, value);
        }

        guest.expect(ExitReason::HLT);

        let after = [Reg::RSP, Reg::RSI, Reg::RBP, Reg::RDI, Reg::R15, Reg::RAX, Reg::RBX, Reg::RCX];
        for (reg, value) in after.into_iter().zip(0x10..) {
            assert_eq!(guest.reg(reg), value, "{reg:?}");
        }
    });
}

#[test]
fn system_registers_round_trip() {
    each(|provider| {
        let mut guest = idle(provider);
        let values = [
            (Reg::RIP, 0x1234_5678),
            (Reg::RFLAGS, 0x246),
            (Reg::CS, 0x28),
            (Reg::SS, 0x30),
            (Reg::DS, 0x38),
            (Reg::ES, 0x40),
            (Reg::FS, 0x48),
            (Reg::GS, 0x50),
            (Reg::IDT_BASE, 0xffff_8000_0000_1000),
            (Reg::IDT_LIMIT, 0x7ff),
            (Reg::GDT_BASE, 0xffff_8000_0000_2000),
            (Reg::GDT_LIMIT, 0x6ff),
            (Reg::LDTR, 0x58),
            (Reg::LDT_BASE, 0x3000),
            (Reg::LDT_LIMIT, 0x5ff),
            (Reg::LDT_AR, 0x82),
            (Reg::TR, 0x60),
            (Reg::TSS_BASE, 0x4000),
            (Reg::TSS_LIMIT, 0x67),
            (Reg::TSS_AR, 0x8b),
            (Reg::CR2, 0xdead_beef),
            (Reg::CR3, 0x5000),
            (Reg::DR0, 0x11),
            (Reg::DR1, 0x22),
            (Reg::DR2, 0x33),
            (Reg::DR3, 0x44),
            (Reg::DR6, 0xffff_0ff0),
            (Reg::DR7, 0x400),
            (Reg::TPR, 0x50),
        ];
        for (reg, value) in values {
            guest.set_reg(reg, value);
            assert_eq!(guest.reg(reg), value, "{reg:?}");
        }
    });
}

#[test]
fn registers_and_vmcs_fields_are_the_same_registers() {
    each(|provider| {
        let mut guest = idle(provider);
        for (reg, field, value) in [
            (Reg::RIP, Field::GUEST_RIP, 0x4321),
            (Reg::RSP, Field::GUEST_RSP, 0x8765),
            (Reg::RFLAGS, Field::GUEST_RFLAGS, 0x8d7),
            (Reg::CS, Field::GUEST_CS, 0x88),
            (Reg::GDT_BASE, Field::GUEST_GDTR_BASE, 0x9000),
            (Reg::TSS_AR, Field::GUEST_TR_AR, 0x8b),
        ] {
            guest.set_reg(reg, value);
            assert_eq!(guest.get(field), value, "{reg:?}");
            guest.set(field, value ^ 0x10);
            assert_eq!(guest.reg(reg), value ^ 0x10, "{field:?}");
        }
    });
}

#[test]
fn a_register_that_does_not_exist_is_refused() {
    each(|provider| {
        let mut guest = idle(provider);
        assert!(guest.vcpu.read_register(Reg(51)).is_err());
        assert!(guest.vcpu.write_register(Reg(51), 0).is_err());
    });
}

#[test]
fn xcr0_takes_sse_and_treats_mpx_as_known() {
    each(|provider| {
        let mut guest = idle(provider);

        guest.set_reg(Reg::XCR0, 3);
        assert_eq!(guest.reg(Reg::XCR0), 3);

        guest.set_reg(Reg::XCR0, 3 | 3 << 3);
        match provider.switch(|q| q.mpx_ignored) {
            Some(true) => assert_eq!(guest.reg(Reg::XCR0), 3),
            Some(false) => assert_eq!(guest.reg(Reg::XCR0), 0x1b),
            None => {}
        }
    });
}

#[test]
fn upper_halves_of_vector_registers_travel_through_the_fpstate_where_there_are_any() {
    each(|provider| {
        let mut guest = idle(provider);
        let mut state = [0_u8; 4096];
        guest.vcpu.read_fpstate(&mut state).unwrap();
        if state[512] & 4 == 0 {
            // A processor of x86-64-v2 knows no such component.
            state[512] |= 4;
            assert!(provider.is_native() || guest.vcpu.write_fpstate(&state).is_err());
            return;
        }
        state[576 + 16 * 3..][..16].fill(0x5a);
        guest.vcpu.write_fpstate(&state).unwrap();
        let mut after = [0_u8; 4096];
        guest.vcpu.read_fpstate(&mut after).unwrap();
        assert_eq!(after[576..832], state[576..832]);
    });
}

#[test]
fn vector_registers_travel_through_the_fpstate() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.movups(xmm3, xmm1)?;
            a.pxor(xmm1, xmm1)?;
            a.hlt()
        });
        let mut state = [0_u8; 4096];
        guest.vcpu.read_fpstate(&mut state).unwrap();
        for (i, byte) in state[160 + 16..160 + 32].iter_mut().enumerate() {
            *byte = i as u8 + 1;
        }
        state[512] |= 3;
        guest.vcpu.write_fpstate(&state).unwrap();

        guest.expect(ExitReason::HLT);

        guest.vcpu.read_fpstate(&mut state).unwrap();
        let expected: Vec<u8> = (1..=16).collect();
        assert_eq!(&state[160 + 48..160 + 64], expected);
        assert_eq!(&state[160 + 16..160 + 32], [0; 16]);
    });
}

#[test]
fn x87_state_and_mxcsr_travel_through_the_fpstate() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.fld1()?;
            a.fldcw(word_ptr(crate::layout::DATA))?;
            a.ldmxcsr(dword_ptr(crate::layout::DATA + 8))?;
            a.hlt()
        });
        guest.write_u64(crate::layout::DATA, 0x0f7f);
        guest.write_u64(crate::layout::DATA + 8, 0x9f80);

        guest.expect(ExitReason::HLT);

        let mut state = [0_u8; 4096];
        guest.vcpu.read_fpstate(&mut state).unwrap();
        assert_eq!(&state[0..2], 0x0f7f_u16.to_le_bytes(), "control word");
        assert_eq!(&state[24..28], 0x9f80_u32.to_le_bytes(), "MXCSR");
        assert_eq!(state[4], 0x80, "abridged tag word: one register in use");
        assert_eq!(&state[32..42], [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f], "1.0 in ST(0)");
    });
}
