//! `hv_vm_map`, `hv_vm_unmap`, `hv_vm_protect`.

use std::sync::Arc;

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{EptQualification, ExitReason, MemoryFlags, Reg, VmOptions};
use hypervisor_framework::{HostRegion, ReturnCode};
use iced_x86::code_asm::*;
use vm_memory::{Bytes, VolatileMemory};

use crate::guest::Guest;
use crate::layout::*;
use crate::provider::{Provider, each};

const PAGE: usize = 4096;

fn code(result: hypervisor_framework::Result<()>) -> ReturnCode {
    result.err().map_or(ReturnCode::SUCCESS, |e| e.code)
}

#[test]
fn misaligned_empty_or_endless_mappings_are_bad_arguments() {
    each(|provider| {
        let vm = provider.hypervisor.create_vm(VmOptions::empty()).unwrap();
        let memory = Arc::new(HostRegion::new(4 * PAGE).unwrap());
        let map = |offset, gpa, size| code(vm.map(&memory, offset, gpa, size, MemoryFlags::RWX));

        assert_eq!(map(0, 0x800, PAGE), ReturnCode::BAD_ARGUMENT, "address");
        assert_eq!(map(0x10, 0, PAGE), ReturnCode::BAD_ARGUMENT, "offset");
        assert_eq!(map(0, 0, PAGE - 1), ReturnCode::BAD_ARGUMENT, "size");
        assert_eq!(map(0, 0, 0), ReturnCode::BAD_ARGUMENT, "empty");
        assert_eq!(map(0, 0, 5 * PAGE), ReturnCode::BAD_ARGUMENT, "past the backing");
        assert_eq!(map(PAGE, 0, 4 * PAGE), ReturnCode::BAD_ARGUMENT, "past the backing by its offset");
        assert_eq!(map(0, !0xfff, 2 * PAGE), ReturnCode::BAD_ARGUMENT, "past the address space");
        assert_eq!(map(PAGE, 0x8000_0000, PAGE), ReturnCode::SUCCESS);
    });
}

#[test]
fn overlapping_mappings() {
    each(|provider| {
        let vm = provider.hypervisor.create_vm(VmOptions::empty()).unwrap();
        let memory = Arc::new(HostRegion::new(4 * PAGE).unwrap());
        vm.map(&memory, 0, 0x1000, 2 * PAGE, MemoryFlags::RWX).unwrap();

        let again = code(vm.map(&memory, 0, 0x2000, 2 * PAGE, MemoryFlags::RWX));

        match provider.switch(|q| q.overlap_refused) {
            Some(true) => assert_eq!(again, ReturnCode::BAD_ARGUMENT),
            Some(false) => assert_eq!(again, ReturnCode::SUCCESS),
            None => {}
        }
    });
}

#[test]
fn unmapping_what_is_not_mapped() {
    each(|provider| {
        let vm = provider.hypervisor.create_vm(VmOptions::empty()).unwrap();

        let hole = code(vm.unmap(0x1000, PAGE));
        let protect = code(vm.protect(0x1000, PAGE, MemoryFlags::READ));

        if let Some(expected) = provider.switch(|q| q.hole) {
            assert_eq!((hole, protect), (expected, expected));
        }
        assert_eq!(code(vm.unmap(0x1800, PAGE)), ReturnCode::BAD_ARGUMENT, "misaligned");
    });
}

/// A guest that reads, then writes, the spare page.
fn read_then_write(provider: &Provider) -> Guest {
    Guest::long(provider, &|a| {
        a.mov(rax, qword_ptr(SPARE))?;
        a.mov(qword_ptr(SPARE), rax)?;
        a.hlt()
    })
}

#[test]
fn guest_and_host_see_the_same_memory() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rax, qword_ptr(DATA))?;
            a.add(rax, 1)?;
            a.mov(qword_ptr(DATA + 8), rax)?;
            a.hlt()
        });
        guest.write_u64(DATA, 41);

        guest.expect(ExitReason::HLT);

        assert_eq!(guest.read_u64(DATA + 8), 42);
    });
}

#[test]
fn a_mapping_keeps_its_backing_alive() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rax, qword_ptr(HOLE))?;
            a.hlt()
        });
        let memory = Arc::new(HostRegion::new(PAGE).unwrap());
        memory.as_volatile_slice().write_slice(&7_u64.to_le_bytes(), 0).unwrap();
        guest.vm.map(&memory, 0, HOLE, PAGE, MemoryFlags::RWX).unwrap();

        drop(memory);

        guest.expect(ExitReason::HLT);
        assert_eq!(guest.reg(Reg::RAX), 7);
    });
}

#[test]
fn a_read_only_page_refuses_writes_and_says_so() {
    each(|provider| {
        let mut guest = read_then_write(provider);
        guest.vm.protect(SPARE, PAGE, MemoryFlags::RX).unwrap();

        guest.expect(ExitReason::EPT_VIOLATION);

        let qualification = EptQualification(guest.qualification());
        assert!(qualification.is_write() && qualification.is_final_access(), "{qualification:x?}");
        assert!(
            qualification.has(EptQualification::READABLE) && !qualification.has(EptQualification::WRITABLE)
        );
        assert_eq!(guest.get(Field::GUEST_PHYSICAL_ADDRESS), SPARE);
    });
}

#[test]
fn rights_can_be_given_back() {
    each(|provider| {
        let mut guest = read_then_write(provider);
        guest.vm.protect(SPARE, PAGE, MemoryFlags::READ).unwrap();
        guest.expect(ExitReason::EPT_VIOLATION);

        guest.vm.protect(SPARE, PAGE, MemoryFlags::RWX).unwrap();

        guest.expect(ExitReason::HLT);
    });
}

#[test]
fn a_page_without_execute_refuses_fetches() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.jmp(SPARE));
        guest.vm.protect(SPARE, PAGE, MemoryFlags::READ | MemoryFlags::WRITE).unwrap();

        guest.expect(ExitReason::EPT_VIOLATION);

        let qualification = EptQualification(guest.qualification());
        assert!(
            qualification.is_fetch() && !qualification.has(EptQualification::EXECUTABLE),
            "{qualification:x?}"
        );
        assert_eq!(guest.rip(), SPARE);
    });
}

#[test]
fn an_unmapped_page_refuses_everything() {
    each(|provider| {
        let mut guest = read_then_write(provider);
        guest.vm.unmap(SPARE, PAGE).unwrap();

        guest.expect(ExitReason::EPT_VIOLATION);

        let qualification = EptQualification(guest.qualification());
        assert!(qualification.is_read() && !qualification.is_mapped(), "{qualification:x?}");
    });
}

#[test]
fn unmapping_works_after_the_guest_has_used_the_page() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            let mut again = a.create_label();
            a.set_label(&mut again)?;
            a.mov(rax, qword_ptr(SPARE))?;
            a.cpuid()?;
            a.jmp(again)
        });
        guest.expect(ExitReason::CPUID);
        guest.skip();

        guest.vm.unmap(SPARE, PAGE).unwrap();

        guest.expect(ExitReason::EPT_VIOLATION);
        assert_eq!(guest.get(Field::GUEST_PHYSICAL_ADDRESS), SPARE);
    });
}

#[test]
fn memory_can_be_replaced_by_unmapping_and_mapping() {
    each(|provider| {
        let mut guest = read_then_write(provider);
        let memory = Arc::new(HostRegion::new(PAGE).unwrap());
        memory.as_volatile_slice().write_slice(&9_u64.to_le_bytes(), 0).unwrap();

        guest.vm.unmap(SPARE, PAGE).unwrap();
        guest.vm.map(&memory, 0, SPARE, PAGE, MemoryFlags::RWX).unwrap();

        guest.expect(ExitReason::HLT);
        assert_eq!(guest.reg(Reg::RAX), 9);
    });
}
