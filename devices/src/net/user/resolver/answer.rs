//! Answers of our own: to questions about names we give, and where nobody else answers (RFC 1035, section 4.1).

use std::net::IpAddr;

use smoltcp::wire::{DnsPacket, DnsQueryType, DnsQuestion};

use crate::net::user::network::Network;

/// What a response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The name has this address.
    Address(IpAddr),
    /// The name exists, but has nothing of the kind asked for.
    NoData,
    /// The name does not exist.
    NoName,
    /// The question cannot be answered.
    Failed,
}

/// The top of names that are ours to answer for.
const OUR_DOMAIN: &[u8] = b"internal";
const OUR_NAME: &[u8] = b"rvmm";

/// The longest a name is remembered, in seconds.
const TIME_TO_LIVE: u32 = 60;

/// Header of a DNS message in bytes.
const HEADER_BYTES: usize = 12;

/// A question, as far as we look into it.
pub(super) struct Question<'a> {
    /// Identifier of the message.
    pub(super) id: u16,
    /// The labels of the name, the last being the top.
    labels: Vec<&'a [u8]>,
    kind: DnsQueryType,
    /// Header and question, without what follows.
    asked: &'a [u8],
}

/// The one question of a query; `None` when the message is none, or not of the internet's class.
pub(super) fn question(message: &[u8]) -> Option<Question<'_>> {
    // More labels than a name can have: 255 bytes, each label with its length (RFC 1035, section 3.1).
    const MAX_LABELS: usize = 127;
    let packet = DnsPacket::new_checked(message).ok()?;
    // A query with one question; the C library asks no other.
    let flags = u16::from_be_bytes([*message.get(2)?, *message.get(3)?]);
    if flags & 0xf800 != 0 || packet.question_count() != 1 {
        return None;
    }
    let body = message.get(HEADER_BYTES..)?;
    let (rest, question) = DnsQuestion::parse(body).ok()?;
    let asked = message.get(..message.len() - rest.len())?;
    let mut labels = Vec::new();
    let mut name = body;
    while let Some((length, tail)) = name.split_first().filter(|(length, _)| **length != 0) {
        // A question's name is the first in the message: it has nothing to point to.
        if *length >= 64 || labels.len() >= MAX_LABELS {
            return None;
        }
        let (label, tail) = tail.split_at_checked(usize::from(*length))?;
        labels.push(label);
        name = tail;
    }
    Some(Question { id: packet.transaction_id(), labels, kind: question.type_, asked })
}

impl Question<'_> {
    /// What we know about the name; `None` when it is for others to say.
    pub(super) fn verdict(&self, network: &Network) -> Option<Verdict> {
        let gateway = match self.labels.as_slice() {
            [name] => name.eq_ignore_ascii_case(b"gateway"),
            [name, ours, top] if is_ours(ours, top) => {
                name.eq_ignore_ascii_case(b"host") || name.eq_ignore_ascii_case(b"gateway")
            }
            [.., ours, top] if is_ours(ours, top) => false,
            _ => return None,
        };
        if !gateway {
            return (self.labels.len() > 1).then_some(Verdict::NoName);
        }
        Some(match (self.kind, network.v6) {
            (DnsQueryType::A, _) => Verdict::Address(network.gateway.into()),
            (DnsQueryType::Aaaa, Some(v6)) => Verdict::Address(v6.gateway.into()),
            _ => Verdict::NoData,
        })
    }

    /// The response with this verdict.
    pub(super) fn response(&self, verdict: Verdict) -> Vec<u8> {
        let mut response = self.asked.to_vec();
        let answers: u16 = if matches!(verdict, Verdict::Address(_)) { 1 } else { 0 };
        // Names of ours are answered with authority; for others we are a resolver that does recursion.
        let (authority, code) = match verdict {
            Verdict::Address(_) | Verdict::NoData => (1 << 10, 0),
            Verdict::NoName => (1 << 10, 3),
            Verdict::Failed => (0, 2),
        };
        let recursion_desired = u16::from_be_bytes([self.asked[2], self.asked[3]]) & (1 << 8);
        let flags = (1 << 15) | authority | recursion_desired | (1 << 7) | code;
        let counts = [flags, 1, answers, 0, 0];
        for (field, value) in response.chunks_mut(2).skip(1).zip(counts) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        if let Verdict::Address(address) = verdict {
            // The name is the question's, at byte 12 of the message.
            response.extend_from_slice(&[0xc0, HEADER_BYTES as u8]);
            let (kind, bytes): (u16, Vec<u8>) = match address {
                IpAddr::V4(address) => (DnsQueryType::A.into(), address.octets().to_vec()),
                IpAddr::V6(address) => (DnsQueryType::Aaaa.into(), address.octets().to_vec()),
            };
            let internet: u16 = 1;
            response.extend_from_slice(&kind.to_be_bytes());
            response.extend_from_slice(&internet.to_be_bytes());
            response.extend_from_slice(&TIME_TO_LIVE.to_be_bytes());
            response.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            response.extend_from_slice(&bytes);
        }
        response
    }
}

fn is_ours(name: &[u8], top: &[u8]) -> bool {
    name.eq_ignore_ascii_case(OUR_NAME) && top.eq_ignore_ascii_case(OUR_DOMAIN)
}
