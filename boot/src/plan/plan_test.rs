use super::*;
use crate::acpi::AcpiError;
use crate::synthetic::{BzImageSpec, ElfSpec, cpio, noise};
use crate::unpack::{Compression, Unpack};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn memory(ram: &[(u64, u64)]) -> MemoryLayout {
    let range = |(start, end): &(u64, u64)| GpaRange::between(*start, *end);
    MemoryLayout { ram: ram.iter().map(range).collect(), reserved: vec![] }
}

fn kernel(file: &[u8], unpack: Unpack) -> KernelImage<'_> {
    KernelImage::load(file, "bzImage", unpack, GIB).unwrap()
}

fn initramfs(size: usize) -> Initramfs<'static> {
    Initramfs::load(cpio("file", &noise(size)), "initrd", Unpack::Host, GIB).unwrap()
}

fn request<'a>(kernel: &'a KernelImage<'a>, memory: &'a MemoryLayout) -> PlanRequest<'a> {
    PlanRequest { kernel, initramfs: None, cmdline: "console=ttyS0", memory, acpi: None }
}

fn find<'b>(image: &'b BootImage<'_>, part: Part) -> &'b Placement<'b> {
    image.placements.iter().find(|placement| placement.part == part).unwrap()
}

fn packed() -> Vec<u8> {
    BzImageSpec::packed(Compression::Gzip, &ElfSpec::linux64().build()).build()
}

/// What holds for every plan.
fn check(image: &BootImage<'_>, memory: &MemoryLayout) {
    let ram = memory.usable_ram().unwrap();
    for (index, placement) in image.placements.iter().enumerate() {
        let range = placement.range();
        assert!(placement.bytes.len() as u64 <= placement.size, "{}", placement.part);
        let in_ram = ram.iter().any(|ram| ram.contains(&range));
        assert!(in_ram || placement.part == Part::Acpi, "{} at {range}", placement.part);
        for other in &image.placements[..index] {
            assert!(!other.range().overlaps(&range), "{} and {}", other.part, placement.part);
        }
    }
}

#[test]
fn a_64_bit_plan_has_all_its_parts() {
    let file = packed();
    let kernel = kernel(&file, Unpack::Host);
    let (memory, initramfs) = (memory(&[(0, 128 * MIB)]), initramfs(10_000));
    let acpi = AcpiConfig::pc(2);
    let image =
        plan(&PlanRequest { initramfs: Some(&initramfs), acpi: Some(&acpi), ..request(&kernel, &memory) })
            .unwrap();
    check(&image, &memory);

    assert_eq!(image.entry.rip, 0x100_0040);
    assert_eq!(image.entry.cr3, find(&image, Part::PageTables).gpa);
    assert_eq!(image.entry.rsi, find(&image, Part::ZeroPage).gpa);
    let gdt = find(&image, Part::Gdt);
    assert_eq!((image.entry.gdtr.base, usize::from(image.entry.gdtr.limit) + 1), (gdt.gpa, gdt.bytes.len()));
    assert_eq!(*find(&image, Part::CommandLine).bytes, *b"console=ttyS0\0");
    let zero_page = &find(&image, Part::ZeroPage).bytes;
    assert_eq!(zero_page[0x228..0x22c], (find(&image, Part::CommandLine).gpa as u32).to_le_bytes());
    let ramdisk = find(&image, Part::Initramfs);
    assert_eq!(zero_page[0x218..0x21c], (ramdisk.gpa as u32).to_le_bytes());
    assert_eq!(zero_page[0x21c..0x220], (ramdisk.size as u32).to_le_bytes());
    assert_eq!(*ramdisk.bytes, *initramfs.bytes());
    assert_eq!(usize::from(zero_page[0x1e8]), image.e820.len());
    assert_eq!(image.rsdp, Some(find(&image, Part::Acpi).gpa));
    assert_eq!(zero_page[0x70..0x78], image.rsdp.unwrap().to_le_bytes());
    let acpi_in_map = image.e820.iter().find(|entry| entry.kind == crate::E820Kind::Acpi).unwrap();
    assert!(acpi_in_map.range.contains(&find(&image, Part::Acpi).range()));
}

#[test]
fn a_pvh_plan_has_a_start_info_and_no_zero_page() {
    let file = ElfSpec { pvh_entry: Some(0x100_0080), ..ElfSpec::linux64() }.build();
    let kernel = kernel(&file, Unpack::Host);
    let memory = memory(&[(0, 128 * MIB)]);
    let image = plan(&request(&kernel, &memory)).unwrap();
    check(&image, &memory);
    assert_eq!((image.entry.rip, image.entry.rbx), (0x100_0080, find(&image, Part::StartInfo).gpa));
    let parts: Vec<Part> = image.placements.iter().map(|placement| placement.part).collect();
    assert!(!parts.contains(&Part::ZeroPage) && !parts.contains(&Part::PageTables));
}

#[test]
fn the_initramfs_goes_as_high_as_the_kernel_allows() {
    let file = packed();
    let kernel = kernel(&file, Unpack::Host);
    let initramfs = initramfs(10_000);
    let size = initramfs.bytes().len() as u64;
    for (ram, top) in [
        (&[(0, 128 * MIB)][..], 128 * MIB),
        // Below `initrd_addr_max`.
        (&[(0, 3 * GIB), (4 * GIB, 8 * GIB)], 2 * GIB),
        (&[(0, 64 * MIB), (96 * MIB, 128 * MIB), (4 * GIB, 5 * GIB)], 128 * MIB),
    ] {
        let memory = memory(ram);
        let image = plan(&PlanRequest { initramfs: Some(&initramfs), ..request(&kernel, &memory) }).unwrap();
        check(&image, &memory);
        assert_eq!(find(&image, Part::Initramfs).gpa, (top - size) & !0xfff);
    }
}

#[test]
fn an_initramfs_goes_above_its_limit_only_where_the_kernel_says_so() {
    let spec = BzImageSpec { initrd_addr_max: 0x200_0000, ..BzImageSpec::new(vec![1; 999]) };
    let (memory, initramfs) = (memory(&[(0, 64 * MIB), (4 * GIB, 5 * GIB)]), initramfs(20 << 20));
    let place = |xloadflags: u16| {
        let file = BzImageSpec { xloadflags, ..spec.clone() }.build();
        let kernel = kernel(&file, Unpack::Guest);
        let image = plan(&PlanRequest { initramfs: Some(&initramfs), ..request(&kernel, &memory) })?;
        check(&image, &memory);
        Ok::<_, PlanError>(find(&image, Part::Initramfs).range())
    };
    assert!(place(3).unwrap().start >= 4 * GIB);
    let error = place(1).unwrap_err();
    // Below 32 MiB and beside the kernel (16 to 18 MiB) there are 15 MiB from 1 MiB on, and 14 MiB from 18 MiB on.
    let PlanError::InitramfsDoesNotFit { size, limit, kernel, largest, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*size, *limit), (initramfs.bytes().len() as u64, 0x200_0001));
    assert_eq!((*kernel, *largest), (GpaRange::new(16 * MIB, 2 * MIB), 15 * MIB));
    assert!(error.to_string().starts_with("initrd: "), "{error}");
}

#[test]
fn an_initramfs_stays_clear_of_the_room_a_kernel_unpacks_in() {
    let vmlinux = ElfSpec::linux64().build();
    let file =
        BzImageSpec { init_size: 40 << 20, ..BzImageSpec::packed(Compression::Gzip, &vmlinux) }.build();
    for unpack in [Unpack::Host, Unpack::Guest] {
        let kernel = kernel(&file, unpack);
        let (memory, initramfs) = (memory(&[(0, 64 * MIB)]), initramfs(10 << 20));
        let image = plan(&PlanRequest { initramfs: Some(&initramfs), ..request(&kernel, &memory) }).unwrap();
        let room = GpaRange::new(16 * MIB, 40 * MIB);
        assert!(!find(&image, Part::Initramfs).range().overlaps(&room));
    }
}

#[test]
fn a_kernel_outside_ram_is_an_error_with_the_numbers() {
    let file = packed();
    let kernel = kernel(&file, Unpack::Host);
    let small = memory(&[(0, 17 * MIB)]);
    let needed = GpaRange::new(16 * MIB, 2 * MIB);
    let error = plan(&request(&kernel, &small)).unwrap_err();
    let file = "bzImage".to_owned();
    assert_eq!(error, PlanError::KernelDoesNotFit { file, needed, ram_end: 17 * MIB });
    assert!(error.to_string().contains("0x1000000..0x1200000"), "{error}");
    assert!(error.to_string().contains("0x1100000"), "{error}");

    let reserved = MemoryLayout { reserved: vec![GpaRange::new(17 * MIB, 4096)], ..memory(&[(0, GIB)]) };
    assert!(matches!(plan(&request(&kernel, &reserved)), Err(PlanError::KernelDoesNotFit { .. })));
}

#[test]
fn a_kernel_in_the_loader_s_own_memory_is_an_overlap() {
    let segments = vec![(0x7000, noise(0x1000), 0x1000)];
    let file = ElfSpec { segments, entry: 0x7000, ..ElfSpec::linux64() }.build();
    let kernel = kernel(&file, Unpack::Host);
    let memory = memory(&[(0, 128 * MIB)]);
    let error = plan(&request(&kernel, &memory)).unwrap_err();
    assert!(
        matches!(error, PlanError::Overlap { first: Part::Kernel, second: Part::ZeroPage, .. }),
        "{error}"
    );
}

#[test]
fn a_reserved_range_in_the_loader_s_own_memory_is_an_error() {
    let file = packed();
    let kernel = kernel(&file, Unpack::Host);
    let memory = MemoryLayout { reserved: vec![GpaRange::new(0x7000, 0x1000)], ..memory(&[(0, GIB)]) };
    let error = plan(&request(&kernel, &memory)).unwrap_err();
    assert!(matches!(error, PlanError::Reserved { part: Part::ZeroPage, .. }), "{error}");
}

#[test]
fn the_command_line_is_held_to_the_kernel_s_limit() {
    let file = BzImageSpec { cmdline_size: 20, ..BzImageSpec::new(vec![1; 999]) }.build();
    let kernel = kernel(&file, Unpack::Guest);
    let memory = memory(&[(0, 128 * MIB)]);
    let line = |text: &str| {
        let image = plan(&PlanRequest { cmdline: text, ..request(&kernel, &memory) })?;
        Ok::<_, PlanError>(find(&image, Part::CommandLine).bytes.to_vec())
    };
    assert_eq!(line("12345678901234567890").unwrap(), b"12345678901234567890\0");
    assert_eq!(line("  quiet -- single  ").unwrap(), b"quiet -- single\0");
    assert_eq!(line("").unwrap(), b"\0");
    let error = line("123456789012345678901").unwrap_err();
    assert_eq!(error, PlanError::CommandLineTooLong { length: 21, limit: 20, file: "bzImage".to_owned() });
    assert_eq!(error.to_string(), "the command line has 21 bytes, bzImage takes at most 20");
    let control = line("quiet\nsingle").unwrap_err();
    assert_eq!(control, PlanError::CommandLineCharacter { character: '\n', offset: 5 });
    assert!(line("a\0b").is_err());
}

#[test]
fn acpi_s_errors_are_the_plan_s() {
    let file = packed();
    let kernel = kernel(&file, Unpack::Host);
    let memory = memory(&[(0, 128 * MIB)]);
    let acpi = AcpiConfig { apic_ids: vec![], ..AcpiConfig::pc(1) };
    let error = plan(&PlanRequest { acpi: Some(&acpi), ..request(&kernel, &memory) }).unwrap_err();
    assert_eq!(error, PlanError::Acpi(AcpiError::NoCpus));
}
