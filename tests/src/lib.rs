//! Conformance, boot and end-to-end tests, and benches.
