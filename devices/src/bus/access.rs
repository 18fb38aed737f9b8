//! One access, found its device or split until its parts do.

use super::ranges::{Hit, RangeTable};
use super::unclaimed::UnclaimedLog;
use super::{Direction, Width};
use crate::lock;

/// What an access of `width` at `address` meets.
enum Route {
    Device(Hit),
    /// Some of it is claimed, but not all at once by one device.
    Split(Width),
    Nobody,
}

fn route(table: &RangeTable, address: u64, width: Width) -> Route {
    // Wrapping past the top of the address space reaches nobody: a bus has no address 0 after its last one.
    let Some(last) = address.checked_add(width.bytes() - 1) else { return Route::Nobody };
    if let Some(hit) = table.find(address)
        && width <= hit.native
        && last <= hit.last
    {
        return Route::Device(hit);
    }
    match width.half() {
        Some(half) if table.any_in(address, last) => Route::Split(half),
        _ => Route::Nobody,
    }
}

pub(super) fn read(table: &RangeTable, log: &UnclaimedLog, address: u64, width: Width) -> u64 {
    let answer = match route(table, address, width) {
        Route::Device(hit) => lock(&hit.device).read(hit.offset, width).ok(),
        Route::Split(half) => {
            let low = read(table, log, address, half);
            let high = read(table, log, address.wrapping_add(half.bytes()), half);
            Some(low | high << (half.bytes() * 8))
        }
        Route::Nobody => None,
    };
    match answer {
        Some(value) => value & width.mask(),
        None => {
            log.record(address, width, Direction::Read, 0);
            width.mask()
        }
    }
}

pub(super) fn write(table: &RangeTable, log: &UnclaimedLog, address: u64, width: Width, value: u64) {
    let taken = match route(table, address, width) {
        Route::Device(hit) => lock(&hit.device).write(hit.offset, width, value).is_ok(),
        Route::Split(half) => {
            write(table, log, address, half, value & half.mask());
            let high = value >> (half.bytes() * 8) & half.mask();
            write(table, log, address.wrapping_add(half.bytes()), half, high);
            true
        }
        Route::Nobody => false,
    };
    if !taken {
        log.record(address, width, Direction::Write, value);
    }
}
