//! Linux kernels and initramfs to guest memory images: loaders, decompression, zero page, ACPI.
