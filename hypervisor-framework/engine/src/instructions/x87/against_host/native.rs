//! Runs instructions on the host.
#![allow(unsafe_code)] // makes machine code and calls it

use std::collections::HashMap;

use vm_memory::MmapRegion;

use super::State;

const CODE: usize = 1 << 20;

#[repr(C)]
struct Registers {
    flags: u64,
    rax: u64,
    rdx: u64,
    mxcsr: u32,
}

pub(super) struct Native {
    memory: MmapRegion,
    used: usize,
    known: HashMap<Vec<u8>, usize>,
}

impl Native {
    pub(super) fn new() -> Self {
        // Readable, writable, executable; private, anonymous.
        let memory = MmapRegion::build(None, CODE, 7, 0x22).unwrap();
        Self { memory, used: 0, known: HashMap::new() }
    }

    /// The address of a function `(image, operand, registers)` that loads state, runs `code` and saves state.
    fn function(&mut self, code: &[u8]) -> usize {
        if let Some(&address) = self.known.get(code) {
            return address;
        }
        let mut bytes = Vec::new();
        bytes.extend([0x48, 0x89, 0xd1]); // mov rcx, rdx
        bytes.extend([0x57]); // push rdi
        bytes.extend([0x48, 0x0f, 0xae, 0x0f]); // fxrstor64 [rdi]
        bytes.extend([0x48, 0x89, 0xf7]); // mov rdi, rsi
        bytes.extend([0x51]); // push rcx
        bytes.extend([0x48, 0x8b, 0x41, 0x08]); // mov rax, [rcx+8]
        bytes.extend([0x48, 0x8b, 0x51, 0x10]); // mov rdx, [rcx+16]
        bytes.extend([0xff, 0x31, 0x9d]); // push [rcx]; popfq
        bytes.extend(code);
        bytes.extend([0x59]); // pop rcx
        bytes.extend([0x5f]); // pop rdi
        bytes.extend([0x48, 0x89, 0x41, 0x08]); // mov [rcx+8], rax
        bytes.extend([0x48, 0x89, 0x51, 0x10]); // mov [rcx+16], rdx
        bytes.extend([0x9c, 0x8f, 0x01]); // pushfq; pop [rcx]
        bytes.extend([0x48, 0x0f, 0xae, 0x07]); // fxsave64 [rdi]
        bytes.extend([0xdb, 0xe3]); // fninit
        bytes.extend([0x0f, 0xae, 0x51, 0x18]); // ldmxcsr [rcx+24]
        bytes.extend([0xc3]); // ret
        assert!(self.used + bytes.len() <= CODE);
        let place = self.memory.as_ptr().wrapping_add(self.used);
        self.used += bytes.len().next_multiple_of(16);
        // SAFETY: within the region, which nothing else refers to.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        self.known.insert(code.to_vec(), place as usize);
        place as usize
    }

    pub(super) fn run(&mut self, code: &[u8], state: &State) -> State {
        let function = self.function(code);
        let mut after = state.clone();
        let mut registers =
            Registers { flags: state.flags | 2, rax: state.rax, rdx: state.rdx, mxcsr: 0x1f80 };
        // SAFETY: the address of the code made above, which keeps to the C convention (but for vector registers, told
        // by the clobbers); the tested instruction reaches no memory but the operand.
        unsafe {
            std::arch::asm!(
                "call {function}",
                function = in(reg) function,
                inout("rdi") (&raw mut after.image) => _,
                inout("rsi") (&raw mut after.operand) => _,
                inout("rdx") (&raw mut registers) => _,
                clobber_abi("C"),
            );
        }
        after.flags = registers.flags;
        after.rax = registers.rax;
        after.rdx = registers.rdx;
        after
    }
}
