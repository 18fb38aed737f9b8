//! A qcow2 image that anybody may have written, a guest's requests to it, and what `rvmm disk` does with it.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Once};

use devices::disk::{
    ConvertRequest, CreateRequest, DiskConfig, DiskImage, ImageFormat, ResizeRequest, Resizing, compact, convert,
    create, resize,
};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

/// The folder of this process, and the bytes of a sound image with some data.
static SOUND: LazyLock<(PathBuf, Vec<u8>)> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("rvmm-fuzz-qcow2-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("image");
    let size = "1M".parse().unwrap();
    create(&CreateRequest { path: path.clone(), size, format: ImageFormat::Qcow2 }).unwrap();
    let image = DiskImage::open(&config(path.clone())).unwrap();
    image.write_at(&[7; 70_000], 100_000).unwrap();
    drop(image);
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes)
});

fn config(path: PathBuf) -> DiskConfig {
    DiskConfig { format: Some(ImageFormat::Qcow2), backing: true, ..DiskConfig::new(path) }
}

/// Places of the tables, where changes matter.
const PLACES: [u32; 6] = [0, 0x1_0000, 0x2_0000, 0x3_0000, 0x4_0000, 0x5_0000];

fuzz_target!(|data: &[u8]| {
    // A panic of imago's that the image contains is no finding; one that comes through still is.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    let mut choices = Choices::new(data);
    let (path, sound) = &*SOUND;
    let mut bytes = sound.clone();
    for _ in 0..choices.u8() % 24 {
        let place = choices.one_of(&PLACES) as usize + usize::from(choices.u8()) % 128;
        let byte = choices.u8();
        if let Some(old) = bytes.get_mut(place) {
            *old = byte;
        }
    }
    if choices.u8() % 8 == 0 {
        bytes.truncate(choices.u32() as usize % bytes.len());
    }
    std::fs::write(path, &bytes).unwrap();
    if choices.u8() % 4 == 0 {
        use_tool(&mut choices, path);
    }
    let Ok(image) = DiskImage::open(&config(path.clone())) else { return };
    let end = image.bytes();
    let mut buffer = vec![1; 256 << 10];
    while !choices.is_empty() {
        let request = choices.u8();
        let offset = u64::from(choices.u16()) * 512 % end.max(1);
        let len = (u64::from(choices.u16()) * 512).min(buffer.len() as u64);
        let part = &mut buffer[..len as usize];
        let _ = match request % 6 {
            0 => image.read_at(part, offset),
            1 => image.write_at(part, offset),
            2 => image.discard(offset, len),
            3 => image.write_zeroes(offset, len, request & 8 != 0),
            4 => image.flush(),
            _ => image.next_data(offset).map(|_| ()),
        };
    }
});

/// One of the commands that change images.
fn use_tool(choices: &mut Choices<'_>, path: &Path) {
    let format = Some(ImageFormat::Qcow2);
    let kind = choices.u8();
    let size = format!("{}K", u64::from(choices.u16()) * 4).parse();
    let _ = match (kind % 3, size) {
        (0, Ok(size)) => {
            let size = Resizing::To(size);
            resize(&ResizeRequest { path: path.to_owned(), format, size, shrink: true }).map(drop)
        }
        (1, _) => compact(path, format, &mut ()).map(drop),
        _ => {
            let target_format = if kind & 8 == 0 { ImageFormat::Raw } else { ImageFormat::Qcow2 };
            let request = ConvertRequest {
                source: path.to_owned(),
                source_format: format,
                backing: true,
                target: path.with_file_name("copy"),
                target_format,
                replace: true,
            };
            convert(&request, &mut ())
        }
    };
}
