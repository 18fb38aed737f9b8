//! cpio archives in the "newc" form: where one ends. What is in them is the guest's business.

/// Headers, data and archives begin at multiples of this.
pub(super) const ALIGNMENT: usize = 4;

/// Bytes of a header: 6 of magic and 13 fields of 8 hexadecimal digits.
const HEADER: usize = 110;
const FILE_SIZE: usize = 6 + 6 * 8;
const NAME_SIZE: usize = 6 + 11 * 8;
/// The name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!\0";

/// What is wrong with an archive, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: usize,
    pub(super) detail: String,
}

/// Whether an archive begins here: newc, without or with checksums.
pub(super) fn is_archive(data: &[u8]) -> bool {
    data.starts_with(b"070701") || data.starts_with(b"070702")
}

/// Bytes of the archive that `data` begins with, its trailer included. An archive may also end, without a trailer, where
/// the data ends.
pub(super) fn archive_size(data: &[u8]) -> Result<usize, Damage> {
    let mut offset = 0;
    while offset < data.len() {
        let damage = |detail: &str| Damage { offset, detail: detail.to_owned() };
        let rest = &data[offset..];
        if !is_archive(rest) {
            // Zeros or another archive's magic may follow the last entry without a trailer between.
            return if rest[0] == 0 { Ok(offset) } else { Err(damage("no entry's header here")) };
        }
        let header = rest.get(..HEADER).ok_or_else(|| damage("the file ends within a header"))?;
        let field = |at: usize| hexadecimal(&header[at..at + 8]);
        let (Some(name_size), Some(file_size)) = (field(NAME_SIZE), field(FILE_SIZE)) else {
            return Err(damage("a size is not hexadecimal"));
        };
        let name_end = HEADER + name_size as usize;
        let name = rest.get(HEADER..name_end).ok_or_else(|| damage("the file ends within a name"))?;
        let data_end = name_end.next_multiple_of(ALIGNMENT) + file_size as usize;
        if data_end > rest.len() && file_size != 0 {
            return Err(damage("the file ends within an entry's data"));
        }
        offset = data.len().min(offset + data_end.next_multiple_of(ALIGNMENT));
        if name == TRAILER {
            break;
        }
    }
    Ok(offset)
}

/// Eight hexadecimal digits.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    // The standard parser would take a sign.
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}
