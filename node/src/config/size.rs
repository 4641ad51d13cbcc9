//! Sizes as people write them.
//!
//! Invariant: a size that does not fit 64 bits is no size.

/// Reads a size: a whole number of bytes, or with one of the units k, M, G (powers of 1000, also
/// kB, MB, GB) or KiB, MiB, GiB (powers of 1024).
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "k" | "K" | "kB" | "KB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0)),
            ("12", Some(12)),
            ("2k", Some(2_000)),
            ("3MiB", Some(3 << 20)),
            ("1 GB", Some(1_000_000_000)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5G", None),
            ("1TiB", None),
            ("18446744073709551615G", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
