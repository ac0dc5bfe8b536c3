//! The real state of this machine, as resources.

use std::collections::BTreeMap;

use sysinfo::{Disks, Networks, ProcessRefreshKind, ProcessesToUpdate, System};

/// The most processes that are shown, by memory.
const PROCESSES: usize = 100;

/// Reads the machine again and again.
pub(super) struct Machine {
    system: System,
    disks: Disks,
    networks: Networks,
}

impl Machine {
    /// # Errors
    /// When the operating system does not say what it is doing.
    pub(super) fn new() -> Result<Self, sysinfo::Error> {
        Ok(Self {
            system: System::new()?,
            disks: Disks::new_with_refreshed_list()?,
            networks: Networks::new_with_refreshed_list()?,
        })
    }

    /// What the machine is doing now: the name and the JSON of every resource.
    pub(super) fn sample(&mut self) -> BTreeMap<String, String> {
        self.system.refresh_cpu_all();
        self.system.refresh_memory();
        let wanted = ProcessRefreshKind::nothing().with_cpu().with_memory().with_disk_usage();
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, wanted);
        self.disks.refresh(true);
        self.networks.refresh(true);
        let mut state = BTreeMap::new();
        self.system_state(&mut state);
        self.devices(&mut state);
        self.processes(&mut state);
        state
    }

    fn system_state(&self, state: &mut BTreeMap<String, String>) {
        for (index, cpu) in self.system.cpus().iter().enumerate() {
            state.insert(format!("machine/cpu/{index}/load"), format!("{:.1}", cpu.usage()));
            state.insert(format!("machine/cpu/{index}/mhz"), cpu.frequency().to_string());
        }
        if let Ok(load) = System::load_average() {
            for (name, value) in [("1", load.one), ("5", load.five), ("15", load.fifteen)] {
                state.insert(format!("machine/load/{name}"), format!("{value:.2}"));
            }
        }
        let system = &self.system;
        for (name, bytes) in [
            ("total", system.total_memory()),
            ("used", system.used_memory()),
            ("available", system.available_memory()),
            ("swap", system.used_swap()),
        ] {
            state.insert(format!("machine/memory/{name}"), bytes.to_string());
        }
        if let Ok(seconds) = System::uptime() {
            state.insert("machine/uptime".to_owned(), seconds.to_string());
        }
        state.insert("machine/processes".to_owned(), system.processes().len().to_string());
    }

    fn devices(&self, state: &mut BTreeMap<String, String>) {
        for disk in &self.disks {
            let name = level(&disk.mount_point().to_string_lossy());
            state.insert(format!("machine/disk/{name}/total"), disk.total_space().to_string());
            state.insert(format!("machine/disk/{name}/free"), disk.available_space().to_string());
        }
        for (name, network) in &self.networks {
            let name = level(&name.to_string_lossy());
            for (what, count) in [
                ("received", network.total_received()),
                ("sent", network.total_transmitted()),
                ("packets-in", network.total_packets_received()),
                ("packets-out", network.total_packets_transmitted()),
            ] {
                state.insert(format!("machine/network/{name}/{what}"), count.to_string());
            }
        }
    }

    fn processes(&self, state: &mut BTreeMap<String, String>) {
        let mut processes: Vec<_> = self.system.processes().values().collect();
        processes.sort_by_key(|process| std::cmp::Reverse((process.memory(), process.pid())));
        for process in processes.into_iter().take(PROCESSES) {
            let pid = process.pid();
            let disk = process.disk_usage();
            // A message of no bytes would delete.
            let mut put = |what: &str, value: String| {
                let value = if value.is_empty() { "-".to_owned() } else { value };
                state.insert(format!("machine/process/{pid}/{what}"), value);
            };
            put("name", process.name().to_string_lossy().into_owned());
            put("cpu", format!("{:.1}", process.cpu_usage()));
            put("memory", process.memory().to_string());
            put("read", disk.total_read_bytes.to_string());
            put("written", disk.total_written_bytes.to_string());
            put("running", process.run_time().to_string());
        }
    }
}

/// A name as one level of a topic.
fn level(name: &str) -> String {
    let trimmed = name.trim_matches('/');
    let clean: String = trimmed
        .chars()
        .map(|c| if matches!(c, '/' | '+' | '#' | '%') || c.is_control() { '-' } else { c })
        .collect();
    if clean.is_empty() { "root".to_owned() } else { clean }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn a_sample_has_the_machine_in_it_and_names_that_are_topics() {
        let state = Machine::new().unwrap().sample();
        assert!(state.len() > 10, "{} resources", state.len());
        assert!(state.contains_key("machine/memory/used"));
        for (name, value) in &state {
            assert!(dovetail_model::Topic::new(name).is_ok(), "{name}");
            assert!(!value.is_empty());
        }
    }

    #[test]
    fn names_of_devices_become_one_level() {
        assert_eq!(level("/"), "root");
        assert_eq!(level("/mnt/a+b"), "mnt-a-b");
    }
}
