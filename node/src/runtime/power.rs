//! The system's power supplies, read from its files.
//!
//! Whether they mean that the machine lives on its battery is the miner's to decide. Invariant: a
//! file that is missing or unreadable is a fact that is not known, never an error.

use cairn_miner::PowerSupply;
use std::path::Path;

/// Where Linux describes power supplies, a folder for each.
pub(super) const FOLDER: &str = "/sys/class/power_supply";

/// The supplies described below a folder; none where there is no such folder.
pub(super) fn supplies(folder: &Path) -> Vec<PowerSupply> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let entries = entries.filter_map(Result::ok);
    entries.map(|entry| supply(&entry.path())).collect()
}

fn supply(folder: &Path) -> PowerSupply {
    let fact = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        text.trim().to_owned()
    };
    PowerSupply {
        kind: fact("type"),
        scope: fact("scope"),
        status: fact("status"),
        is_online: fact("online").starts_with(['1', '2']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_miner::runs_on_battery;

    fn describe(folder: &Path, name: &str, facts: &[(&str, &str)]) {
        let supply = folder.join(name);
        std::fs::create_dir_all(&supply).unwrap();
        for (fact, text) in facts {
            std::fs::write(supply.join(fact), format!("{text}\n")).unwrap();
        }
    }

    #[test]
    fn a_laptop_that_is_unplugged_and_plugged_in_again() {
        let folder = tempfile::tempdir().unwrap();
        let on_battery = || runs_on_battery(&supplies(folder.path()));
        assert!(!on_battery(), "a machine without batteries");
        describe(
            folder.path(),
            "BAT0",
            &[("type", "Battery"), ("status", "Discharging")],
        );
        describe(folder.path(), "AC", &[("type", "Mains"), ("online", "0")]);
        assert!(on_battery());
        describe(folder.path(), "AC", &[("online", "1")]);
        assert!(!on_battery());
    }

    #[test]
    fn a_system_without_the_folder_has_no_supplies() {
        assert_eq!(supplies(Path::new("/nowhere/power_supply")), []);
    }
}
