//! The software provider: the framework’s API over the CPU engine.
