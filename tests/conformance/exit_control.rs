//! Control and debug registers: masks, shadows, CR3, CR8 and the TPR.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{CrAccess, CrQualification, DrQualification, ExitReason, ProcBased, Reg};
use iced_x86::code_asm::*;

use crate::guest::{Guest, OSFXSR, PAE, Wish};
use crate::layout::*;
use crate::provider::each;

const TS: u64 = 1 << 3;
const MP: u64 = 1 << 1;
const WP: u64 = 1 << 16;

#[test]
fn reads_see_the_shadow_of_the_hosts_bits() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rax, cr0)?;
            a.mov(rbx, cr4)?;
            a.smsw(ecx)?;
            a.hlt()
        });
        let value = guest.get(Field::GUEST_CR0) | WP;
        guest.set(Field::GUEST_CR0, value);
        guest.set(Field::CTRL_CR0_SHADOW, 0x6000_0010);

        guest.expect(ExitReason::HLT);

        // The mask owns PE, PG, NE, ET, CD and NW.
        assert_eq!(guest.reg(Reg::RAX), 0x6000_0010 | WP);
        assert_eq!(guest.reg(Reg::RBX), PAE | OSFXSR, "VMXE is hidden");
        assert_eq!(guest.reg(Reg::RCX), 0x6000_0010 | WP);
    });
}

#[test]
fn writes_of_the_guests_own_bits_do_not_exit() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rax, cr0)?;
            a.or(eax, (WP | MP) as u32)?;
            a.mov(cr0, rax)?;
            a.hlt()
        });

        guest.expect(ExitReason::HLT);

        assert_eq!(guest.get(Field::GUEST_CR0) & (WP | MP), WP | MP);
        assert_ne!(guest.get(Field::GUEST_CR0) & 0x20, 0, "NE stays");
    });
}

#[test]
fn a_write_that_differs_from_the_shadow_exits() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(r9, cr0)?;
            a.and(r9d, 0x7fff_ffff)?;
            a.mov(cr0, r9)
        });

        guest.expect(ExitReason::CR_ACCESS);

        let qualification = CrQualification(guest.qualification());
        assert_eq!((qualification.cr(), qualification.access()), (0, CrAccess::Write));
        assert_eq!(qualification.gpr(), Reg::R9);
        assert_eq!(guest.length(), 4);
        assert_ne!(guest.get(Field::GUEST_CR0) >> 31 & 1, 0, "not written");
    });
}

#[test]
fn setting_vmxe_exits_because_the_host_owns_it() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rsp, cr4)?;
            a.or(esp, 0x2000)?;
            a.mov(cr4, rsp)
        });

        guest.expect(ExitReason::CR_ACCESS);

        let qualification = CrQualification(guest.qualification());
        assert_eq!((qualification.cr(), qualification.gpr()), (4, Reg::RSP), "ModRM numbers");
    });
}

#[test]
fn clts_and_lmsw_exit_on_the_hosts_bits_only() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.clts()?;
            a.mov(eax, 0x1b)?;
            a.lmsw(ax)?;
            a.hlt()
        });
        let value = guest.get(Field::GUEST_CR0) | TS;
        guest.set(Field::GUEST_CR0, value);
        guest.expect(ExitReason::HLT);
        assert_eq!(guest.get(Field::GUEST_CR0) & TS, TS, "CLTS cleared it, LMSW set it");

        let mask = guest.get(Field::CTRL_CR0_MASK) | TS | MP;
        guest.set(Field::CTRL_CR0_MASK, mask);
        guest.set(Field::CTRL_CR0_SHADOW, value);
        guest.set(Field::GUEST_RIP, CODE);
        guest.expect(ExitReason::CR_ACCESS);
        assert_eq!(CrQualification(guest.qualification()).access(), CrAccess::Clts);
        assert_eq!(guest.length(), 2);
        guest.set(Field::CTRL_CR0_SHADOW, value & !TS);
        guest.skip();
        guest.expect(ExitReason::CR_ACCESS);
        let qualification = CrQualification(guest.qualification());
        assert_eq!((qualification.access(), qualification.lmsw_source()), (CrAccess::Lmsw, 0x1b));
        assert!(!qualification.lmsw_from_memory());
    });
}

#[test]
fn cr3_exits_when_asked() {
    each(|provider| {
        let wish = Wish { primary: ProcBased::CR3_LOAD | ProcBased::CR3_STORE, ..Wish::default() };
        let mut guest = Guest::long_with(provider, wish, &|a| {
            a.mov(rdx, cr3)?;
            a.mov(cr3, rdx)
        });

        guest.expect(ExitReason::CR_ACCESS);
        let read = CrQualification(guest.qualification());
        assert_eq!((read.cr(), read.access(), read.gpr()), (3, CrAccess::Read, Reg::RDX));
        guest.skip();

        guest.expect(ExitReason::CR_ACCESS);
        let write = CrQualification(guest.qualification());
        assert_eq!((write.cr(), write.access(), write.gpr()), (3, CrAccess::Write, Reg::RDX));
    });
}

#[test]
fn cr3_does_not_exit_otherwise() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rdx, cr3)?;
            a.mov(cr3, rdx)?;
            a.hlt()
        });

        guest.expect(ExitReason::HLT);

        assert_eq!(guest.reg(Reg::RDX), PML4);
    });
}

#[test]
fn cr8_exits_when_asked() {
    each(|provider| {
        let wish = Wish { primary: ProcBased::CR8_LOAD | ProcBased::CR8_STORE, ..Wish::default() };
        let mut guest = Guest::long_with(provider, wish, &|a| {
            a.mov(cr8, rcx)?;
            a.mov(rbx, cr8)
        });

        guest.expect(ExitReason::CR_ACCESS);
        let write = CrQualification(guest.qualification());
        assert_eq!((write.cr(), write.access(), write.gpr()), (8, CrAccess::Write, Reg::RCX));
        guest.skip();

        guest.expect(ExitReason::CR_ACCESS);
        let read = CrQualification(guest.qualification());
        assert_eq!((read.cr(), read.access(), read.gpr()), (8, CrAccess::Read, Reg::RBX));
    });
}

#[test]
fn the_tpr_shadow_holds_cr8() {
    each(|provider| {
        let wish = Wish { primary: ProcBased::TPR_SHADOW, ..Wish::default() };
        let mut guest = Guest::long_with(provider, wish, &|a| {
            a.mov(rbx, cr8)?;
            a.mov(ecx, 7)?;
            a.mov(cr8, rcx)?;
            a.hlt()
        });
        guest.set_reg(Reg::TPR, 0x50);

        guest.expect(ExitReason::HLT);

        assert_eq!(guest.reg(Reg::RBX), 5);
        match provider.switch(|q| q.stale_tpr) {
            Some(false) => assert_eq!(guest.reg(Reg::TPR) & 0xf0, 0x70),
            Some(true) => assert_eq!(guest.reg(Reg::TPR), 0x50),
            None => {}
        }
    });
}

#[test]
fn falling_below_the_threshold_exits_after_the_instruction() {
    each(|provider| {
        let wish = Wish { primary: ProcBased::TPR_SHADOW, ..Wish::default() };
        let mut guest = Guest::long_with(provider, wish, &|a| {
            a.mov(ecx, 6)?;
            a.mov(cr8, rcx)?;
            a.mov(ecx, 2)?;
            a.mov(cr8, rcx)?;
            a.hlt()
        });
        guest.set_reg(Reg::TPR, 0x90);
        guest.set(Field::CTRL_TPR_THRESHOLD, 4);

        guest.expect(ExitReason::TPR_BELOW_THRESHOLD);

        assert_eq!(guest.reg(Reg::RCX), 2, "the second write");
        assert_eq!(guest.rip(), CODE + 18, "behind it");
    });
}

#[test]
fn debug_registers_exit_when_asked() {
    each(|provider| {
        let wish = Wish { primary: ProcBased::MOV_DR, ..Wish::default() };
        let mut guest = Guest::long_with(provider, wish, &|a| {
            a.mov(dr3, rsi)?;
            a.mov(rdi, dr6)
        });

        guest.expect(ExitReason::DR_ACCESS);
        let write = DrQualification(guest.qualification());
        assert_eq!((write.dr(), write.is_read(), write.gpr()), (3, false, Reg::RSI));
        guest.skip();

        guest.expect(ExitReason::DR_ACCESS);
        let read = DrQualification(guest.qualification());
        assert_eq!((read.dr(), read.is_read(), read.gpr()), (6, true, Reg::RDI));
    });
}

#[test]
fn debug_registers_are_the_guests_otherwise() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(dr1, rsi)?;
            a.mov(rdi, dr2)?;
            a.hlt()
        });
        guest.set_reg(Reg::RSI, 0x1111);
        guest.set_reg(Reg::DR2, 0x2222);

        guest.expect(ExitReason::HLT);

        assert_eq!((guest.reg(Reg::DR1), guest.reg(Reg::RDI)), (0x1111, 0x2222));
    });
}
