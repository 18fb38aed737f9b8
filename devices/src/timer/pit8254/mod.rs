//! The 8254 interval timer, with system control port B.

mod channel;
pub mod spec;

use std::sync::Arc;

use self::channel::Channel;
use self::spec::{HZ, control, offset, port_b};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;
use crate::time::{Clock, DeadlineListener, TimedDevice, nanos_to_ticks, ticks_to_nanos};

/// Interrupts are at least this far apart: a guest that asks for one every microsecond must not keep the host busy.
const MIN_PERIOD_NS: u64 = 50_000;

/// The 8254 and port 0x61, which gates and reads its channel 2.
pub struct Pit8254 {
    irq0: IrqLine,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn DeadlineListener>,
    channels: [Channel; 3],
    port_b: u8,
    /// No interrupt before this time.
    not_before_ns: u64,
}

impl Pit8254 {
    /// An 8254 whose channel 0 drives `irq0`. Its counters stand, with their outputs up, until the guest programs them.
    pub fn new(irq0: IrqLine, clock: Arc<dyn Clock>, listener: Arc<dyn DeadlineListener>) -> Self {
        // Up from the start, so that programming a periodic mode is no edge.
        irq0.set_level(true);
        Self { irq0, clock, listener, channels: power_up(), port_b: 0, not_before_ns: 0 }
    }

    /// Power-up reset. Before the interrupt controllers', which then forget the edge it may make.
    pub fn reset(&mut self) {
        self.channels = power_up();
        self.port_b = 0;
        self.not_before_ns = 0;
        self.irq0.set_level(true);
    }

    fn tick(&self) -> u64 {
        nanos_to_ticks(self.clock.now_ns(), HZ)
    }

    /// Drives the interrupt line with what channel 0's output did up to `now_ns`.
    fn settle(&mut self, now_ns: u64) {
        if now_ns < self.not_before_ns {
            return;
        }
        let tick = nanos_to_ticks(now_ns, HZ);
        let [timer, ..] = &mut self.channels;
        if timer.take_edges(tick) {
            self.irq0.set_level(false);
            self.irq0.set_level(true);
            self.not_before_ns = now_ns.saturating_add(MIN_PERIOD_NS);
        }
        if !timer.output(tick) {
            self.irq0.set_level(false);
        }
    }

    fn write_control(&mut self, value: u8) {
        let tick = self.tick();
        let channel = value >> control::CHANNEL_SHIFT;
        if channel == 3 {
            for (index, channel) in self.channels.iter_mut().enumerate() {
                if value & 2 << index == 0 {
                    continue;
                }
                if value & control::READ_BACK_NO_COUNT == 0 {
                    channel.latch_count(tick);
                }
                if value & control::READ_BACK_NO_STATUS == 0 {
                    channel.latch_status(tick);
                }
            }
            return;
        }
        let Some(target) = self.channels.get_mut(usize::from(channel)) else { return };
        match value >> control::ACCESS_SHIFT & 3 {
            0 => target.latch_count(tick),
            access => {
                let mode = value >> control::MODE_SHIFT & 7;
                target.set_mode(access, mode, value & control::BCD != 0);
                if channel == 0 {
                    self.not_before_ns = 0;
                    let high = self.channels[0].output(tick);
                    self.irq0.set_level(high);
                }
            }
        }
    }

    fn write_channel(&mut self, index: usize, value: u8) {
        let now_ns = self.clock.now_ns();
        self.settle(now_ns);
        let tick = nanos_to_ticks(now_ns, HZ);
        let Some(channel) = self.channels.get_mut(index) else { return };
        let loaded = channel.write(value, tick);
        if index == 0 {
            self.settle(now_ns);
            if loaded {
                self.listener.deadline_moved();
            }
        }
    }

    fn read_port_b(&mut self) -> u8 {
        let now_ns = self.clock.now_ns();
        let tick = nanos_to_ticks(now_ns, HZ);
        let refresh = if (now_ns / port_b::REFRESH_NS) & 1 != 0 { port_b::REFRESH } else { 0 };
        let [.., speaker] = &mut self.channels;
        speaker.settle(tick);
        let output = if speaker.output(tick) { port_b::OUTPUT_2 } else { 0 };
        self.port_b | refresh | output
    }
}

/// The gates of channels 0 and 1 are tied high; channel 2's is in port B.
fn power_up() -> [Channel; 3] {
    [Channel::new(true), Channel::new(true), Channel::new(false)]
}

impl BusDevice for Pit8254 {
    fn read(&mut self, offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        let value = match offset {
            offset::CHANNEL_0..=offset::CHANNEL_2 => {
                let now_ns = self.clock.now_ns();
                let tick = nanos_to_ticks(now_ns, HZ);
                if offset == offset::CHANNEL_0 {
                    self.settle(now_ns);
                }
                // One of three, as the pattern says.
                let Some(channel) = self.channels.get_mut(offset as usize) else { return Err(Unclaimed) };
                if offset != offset::CHANNEL_0 {
                    channel.settle(tick);
                }
                channel.read(tick)
            }
            offset::PORT_B => self.read_port_b(),
            _ => return Err(Unclaimed),
        };
        Ok(value.into())
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64) -> Result<(), Unclaimed> {
        let value = (value & 0xff) as u8;
        match offset {
            offset::CHANNEL_0..=offset::CHANNEL_2 => self.write_channel(offset as usize, value),
            offset::CONTROL => self.write_control(value),
            offset::PORT_B => {
                let tick = self.tick();
                self.port_b = value & port_b::WRITABLE;
                let [.., speaker] = &mut self.channels;
                speaker.settle(tick);
                speaker.set_gate(value & port_b::GATE_2 != 0, tick);
            }
            _ => return Err(Unclaimed),
        }
        Ok(())
    }
}

impl TimedDevice for Pit8254 {
    fn next_deadline_ns(&self) -> Option<u64> {
        let [timer, ..] = &self.channels;
        Some(ticks_to_nanos(timer.next_edge()?, HZ).max(self.not_before_ns))
    }

    fn advance(&mut self, now_ns: u64) {
        self.settle(now_ns);
    }
}

#[cfg(test)]
#[path = "pit8254_test.rs"]
mod pit8254_test;
