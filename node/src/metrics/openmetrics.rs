//! OpenMetrics text 1.0 rewritten to Prometheus text 0.0.4.
//!
//! libp2p writes its metrics through `prometheus-client`, which speaks OpenMetrics only; the page of
//! this node is 0.0.4. What differs: a counter's family bears `_total` in its own name, there is no
//! `# UNIT` and no `# EOF`, no exemplars, no `_created`, HELP escapes only `\` and line feeds, types
//! have other names. Sources: the OpenMetrics specification 1.0.0 and Prometheus' "exposition
//! formats".
//!
//! Invariant: whatever comes in, what goes out is well-formed. A line that is not a sample is
//! dropped, a series that stands twice is written once, and each family is written in one piece:
//! label values may hold words of strangers, and they must not be able to break or fake our page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What a family is in 0.0.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Untyped,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }
}

/// A metric family as read: the names of its samples are made when it is written.
#[derive(Debug)]
struct Family {
    kind: Kind,
    /// OpenMetrics gives an `info` family's samples this suffix, which 0.0.4 needs in the name.
    is_info: bool,
    help: String,
    /// Suffix, labels with braces, value.
    samples: Vec<(&'static str, String, String)>,
    seen: BTreeSet<(&'static str, String)>,
}

/// Suffixes that samples of a family may have, longest meaning first.
const SUFFIXES: [(&str, &str); 8] = [
    ("_total", "_total"),
    ("_bucket", "_bucket"),
    ("_count", "_count"),
    ("_sum", "_sum"),
    ("_gcount", "_count"),
    ("_gsum", "_sum"),
    ("_info", ""),
    ("", ""),
];

/// Suffixes that text 0.0.4 reserves for other kinds than gauges.
const RESERVED: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];

/// Rewrites an OpenMetrics page; every family gets `prefix` unless it bears it already.
pub fn to_text(page: &str, prefix: &str) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            read_comment(comment, &mut families, &mut order);
        } else {
            read_sample(line, &mut families);
        }
    }
    let mut text = String::with_capacity(page.len());
    for name in &order {
        let family = &families[name];
        if !family.samples.is_empty() {
            write_family(&mut text, prefix, name, family);
        }
    }
    text
}

fn read_comment(comment: &str, families: &mut BTreeMap<String, Family>, order: &mut Vec<String>) {
    let mut words = comment.splitn(3, ' ');
    let (Some(keyword), Some(name)) = (words.next(), words.next()) else {
        return;
    };
    if !matches!(keyword, "HELP" | "TYPE") || !is_name(name) {
        return;
    }
    let family = families.entry(name.to_owned()).or_insert_with(|| {
        order.push(name.to_owned());
        Family {
            kind: Kind::Untyped,
            is_info: false,
            help: String::new(),
            samples: Vec::new(),
            seen: BTreeSet::new(),
        }
    });
    let text = words.next().unwrap_or_default();
    if keyword == "HELP" {
        family.help = escape_help(text);
        return;
    }
    family.is_info = text == "info";
    family.kind = match text {
        "counter" => Kind::Counter,
        "gauge" | "info" | "stateset" => Kind::Gauge,
        "histogram" | "gaugehistogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        _ => Kind::Untyped,
    };
}

fn read_sample(line: &str, families: &mut BTreeMap<String, Family>) {
    let Some((name, labels, value)) = split_sample(line) else {
        return;
    };
    let found = SUFFIXES.iter().find_map(|(suffix, written)| {
        let base = name.strip_suffix(suffix)?;
        families.contains_key(base).then_some((base, *written))
    });
    let Some((base, suffix)) = found else { return };
    let family = families.get_mut(base).expect("just found");
    if family.seen.insert((suffix, labels.to_owned())) {
        family
            .samples
            .push((suffix, labels.to_owned(), value.to_owned()));
    }
}

/// Name, labels (with braces, empty when there are none) and value of a sample line; none when the
/// line is not exactly a sample. Time stamps and exemplars are left behind.
fn split_sample(line: &str) -> Option<(&str, &str, &str)> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    if !is_name(name) {
        return None;
    }
    let labels_len = if rest.starts_with('{') {
        labels_len(rest)?
    } else {
        0
    };
    let (labels, rest) = rest.split_at(labels_len);
    let value = rest.strip_prefix(' ')?.split(' ').next()?;
    value.parse::<f64>().ok()?;
    Some((name, if labels == "{}" { "" } else { labels }, value))
}

/// Length in bytes of a well-formed `{name="value",…}` at the start of the text.
fn labels_len(text: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        if text[at..].starts_with('}') {
            return Some(at + 1);
        }
        let equals = text[at..].find('=')?;
        if !is_name(&text[at..at + equals]) {
            return None;
        }
        at += equals + 1;
        at += quoted_len(&text[at..])?;
        if text[at..].starts_with(',') {
            at += 1;
        } else if !text[at..].starts_with('}') {
            return None;
        }
    }
}

/// Length in bytes of a quoted string with the escapes `\\`, `\"`, `\n`.
fn quoted_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                matches!(bytes.get(at + 1)?, b'\\' | b'"' | b'n').then_some(())?;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// HELP of OpenMetrics (where `"` may be escaped too, and where a careless writer leaves `\` bare)
/// as HELP of 0.0.4, where only `\\` and `\n` are escapes.
fn escape_help(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('"')) => {}
            ('\\', Some('\\' | 'n')) => {
                out.push(c);
                out.extend(chars.next());
            }
            ('\\', _) => out.push_str("\\\\"),
            _ => out.push(c),
        }
    }
    out
}

fn write_family(text: &mut String, prefix: &str, name: &str, family: &Family) {
    let mut full = if name.starts_with(prefix) {
        name.to_owned()
    } else {
        format!("{prefix}{name}")
    };
    match family.kind {
        Kind::Counter if !full.ends_with("_total") => full.push_str("_total"),
        Kind::Gauge if family.is_info => full.push_str("_info"),
        // A gauge with a reserved ending would read as part of another family.
        Kind::Gauge | Kind::Untyped if RESERVED.iter().any(|end| full.ends_with(end)) => {
            full.push_str("_now");
        }
        _ => {}
    }
    // The client library ends every help text with a full stop, also an empty one.
    let is_empty = family.help.trim_matches(['.', ' ']).is_empty();
    let help = if is_empty {
        "Without description at its source."
    } else {
        &family.help
    };
    let _ = writeln!(
        text,
        "# HELP {full} {help}\n# TYPE {full} {}",
        family.kind.word()
    );
    for (suffix, labels, value) in &family.samples {
        let suffix = match family.kind {
            Kind::Histogram | Kind::Summary => suffix,
            _ => "",
        };
        let _ = writeln!(text, "{full}{suffix}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as ClientFamily;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry, Unit};

    #[test]
    fn a_page_of_the_client_library_comes_out_as_text() {
        let mut registry = Registry::default();
        let libp2p = registry.sub_registry_with_prefix("libp2p");
        let pings: Counter = Counter::default();
        pings.inc_by(3);
        libp2p.register("ping_failure", "Failure while sending a 'ping'", pings);
        let rtt = Histogram::new([0.1, 1.0]);
        rtt.observe(0.5);
        libp2p.register_with_unit("rtt", "Round trip", Unit::Seconds, rtt);
        libp2p.register(
            "build",
            "What runs",
            Info::new(vec![("agent", "a \"quoted\" \\ one")]),
        );
        let peers: ClientFamily<Vec<(String, String)>, Gauge> = ClientFamily::default();
        peers
            .get_or_create(&vec![("kind".into(), "in".into())])
            .set(7);
        registry.register("peers", "", peers);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        assert!(
            page.contains("# UNIT") && page.contains("# EOF"),
            "the input has what must go"
        );
        let expected = r#"# HELP libp2p_peers Without description at its source.
# TYPE libp2p_peers gauge
libp2p_peers{kind="in"} 7
# HELP libp2p_ping_failure_total Failure while sending a 'ping'.
# TYPE libp2p_ping_failure_total counter
libp2p_ping_failure_total 3
# HELP libp2p_rtt_seconds Round trip.
# TYPE libp2p_rtt_seconds histogram
libp2p_rtt_seconds_sum 0.5
libp2p_rtt_seconds_count 1
libp2p_rtt_seconds_bucket{le="0.1"} 0
libp2p_rtt_seconds_bucket{le="1.0"} 1
libp2p_rtt_seconds_bucket{le="+Inf"} 1
# HELP libp2p_build_info What runs.
# TYPE libp2p_build_info gauge
libp2p_build_info{agent="a \"quoted\" \\ one"} 1
"#;
        assert_eq!(to_text(&page, "libp2p_"), expected);
    }

    #[test]
    fn help_keeps_only_the_escapes_of_the_old_format() {
        let cases = [
            (r#"with \"unrecognized\" for"#, r#"with "unrecognized" for"#),
            (r#"with "bare" quotes"#, r#"with "bare" quotes"#),
            (r"line\nfeed and \\", r"line\nfeed and \\"),
            (r"a bare \ and \x", r"a bare \\ and \\x"),
            (r"ends with \", r"ends with \\"),
        ];
        for (input, expected) in cases {
            assert_eq!(escape_help(input), expected);
        }
    }

    #[test]
    fn time_stamps_exemplars_and_creation_times_go() {
        let page = "# TYPE x counter\n# HELP x Help.\nx_total{a=\"b\"} 5 1.5 # {id=\"9\"} 1 2\n\
                    x_created{a=\"b\"} 1234.5\n# EOF\n";
        assert_eq!(
            to_text(page, "libp2p_"),
            "# HELP libp2p_x_total Help.\n# TYPE libp2p_x_total counter\nlibp2p_x_total{a=\"b\"} 5\n"
        );
    }

    #[test]
    fn a_reserved_ending_of_a_gauge_is_moved() {
        let page = "# HELP peers_count Help.\n# TYPE peers_count gauge\npeers_count 1\n";
        assert!(to_text(page, "libp2p_").contains("\nlibp2p_peers_count_now 1\n"));
    }

    #[test]
    fn lines_that_are_no_samples_are_dropped() {
        let head = "# HELP x Help.\n# TYPE x gauge\n";
        let bad = [
            "x",
            "x ",
            "x one",
            "x{} ",
            "x{a=b} 1",
            "x{a=\"b} 1",
            "x{a=\"b\"c=\"d\"} 1",
            "x{a=\"\\q\"} 1",
            "x{a=\"b\"",
            "x{1a=\"b\"} 1",
            "9x 1",
            "y 1",
            "cairn_chain_height 1",
            "",
        ];
        for line in bad {
            assert_eq!(to_text(&format!("{head}{line}\n"), "libp2p_"), "", "{line}");
        }
        for line in [
            "x 1",
            "x{} NaN",
            "x{a=\"\\\"}\\n\"} -1e9",
            "x{a=\"\",} +Inf",
        ] {
            assert_eq!(
                to_text(&format!("{head}{line}\n"), "libp2p_")
                    .lines()
                    .count(),
                3,
                "{line}"
            );
        }
    }

    #[test]
    fn a_family_in_two_pieces_is_written_in_one_and_a_series_once() {
        let page = "# HELP a A.\n# TYPE a gauge\na 1\n# HELP b B.\n# TYPE b gauge\nb 1\n# HELP a A.\n\
                    # TYPE a gauge\na 2\na{x=\"y\"} 3\n";
        let text = to_text(page, "libp2p_");
        assert_eq!(text.matches("# TYPE libp2p_a ").count(), 1);
        assert!(text.contains("libp2p_a 1\nlibp2p_a{x=\"y\"} 3\n"), "{text}");
    }

    proptest::proptest! {
        /// Rewriting never panics, and what it writes reads back as itself.
        #[test]
        fn any_text_comes_out_well_formed(page in "(# (HELP|TYPE) [a-c]{1,2} (counter|gauge|x\\\\)\n|[a-c]{1,2}(_total|_sum)?(\\{[a-c]=\"[a-c\\\\\"]{0,3}\"\\})? [0-9]{1,2}\n|.{0,20}\n){0,20}") {
            let text = to_text(&page, "libp2p_");
            for line in text.lines().filter(|line| !line.starts_with("# ")) {
                proptest::prop_assert!(split_sample(line).is_some(), "{}", line);
                proptest::prop_assert!(line.starts_with("libp2p_"), "{}", line);
            }
        }
    }
}
