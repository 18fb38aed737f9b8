//! Device models: buses, interrupt controllers, timers, serial, power, PCI.
