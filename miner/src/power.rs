//! Whether the machine lives on its battery, decided from what the system says of its supplies.
//!
//! Pure: the node's shell reads the system. Words and values are those of Linux's power supply class.
//! Invariant: what is not known never makes a miner rest; a machine without a battery always mines.

/// One power supply. A fact that the system does not give is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PowerSupply {
    /// `Battery`, `UPS`, `Mains`, `USB` or `Wireless`.
    pub kind: String,
    /// `Device` for the battery of a mouse or the like; `System` or empty for the machine's.
    pub scope: String,
    /// A battery's state: `Charging`, `Discharging`, `Full`, `Not charging`, `Unknown`.
    pub status: String,
    /// Whether a supply from outside gives power.
    pub is_online: bool,
}

/// Whether a battery of the machine itself is being used up and nothing from outside gives power.
pub fn runs_on_battery(supplies: &[PowerSupply]) -> bool {
    let is_battery = |supply: &PowerSupply| matches!(supply.kind.as_str(), "Battery" | "UPS");
    let of_machine = |supply: &&PowerSupply| supply.scope != "Device";
    let (mut batteries, mut others) = (
        supplies.iter().filter(of_machine).filter(|s| is_battery(s)),
        supplies
            .iter()
            .filter(of_machine)
            .filter(|s| !is_battery(s)),
    );
    batteries.any(|battery| battery.status == "Discharging") && !others.any(|other| other.is_online)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn battery(status: &str) -> PowerSupply {
        PowerSupply {
            kind: "Battery".into(),
            status: status.into(),
            ..PowerSupply::default()
        }
    }

    fn outside(kind: &str, is_online: bool) -> PowerSupply {
        PowerSupply {
            kind: kind.into(),
            is_online,
            ..PowerSupply::default()
        }
    }

    #[test]
    fn only_a_discharging_battery_alone_counts() {
        assert!(!runs_on_battery(&[]));
        assert!(!runs_on_battery(&[outside("Mains", false)]));
        assert!(runs_on_battery(&[battery("Discharging")]));
        for status in ["Charging", "Full", "Not charging", "Unknown", ""] {
            assert!(!runs_on_battery(&[battery(status)]), "{status}");
        }
        assert!(runs_on_battery(&[battery("Full"), battery("Discharging")]));
    }

    /// Some laptops draw from the battery beside a weak charger: that is not the battery's life.
    #[test]
    fn power_from_outside_outweighs_a_discharging_battery() {
        for kind in ["Mains", "USB", "Wireless"] {
            assert!(!runs_on_battery(&[
                battery("Discharging"),
                outside(kind, true)
            ]));
            assert!(runs_on_battery(&[
                battery("Discharging"),
                outside(kind, false)
            ]));
        }
    }

    #[test]
    fn the_battery_of_a_mouse_is_not_the_machines() {
        let mouse = PowerSupply {
            scope: "Device".into(),
            ..battery("Discharging")
        };
        assert!(!runs_on_battery(&[mouse]));
    }

    #[test]
    fn an_emergency_supply_in_use_counts() {
        let ups = PowerSupply {
            kind: "UPS".into(),
            ..battery("Discharging")
        };
        assert!(runs_on_battery(&[ups]));
    }
}
