//! What processes on this host use: CPU time, bytes written to disk, peak memory; and how busy the host is.
//!
//! Everything is read from `/proc`. CPU time is the sum over threads in nanoseconds as long as none of them ended
//! between two readings, else the process's own total in ticks of 10 ms, which also counts threads that ended.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::BenchError;

/// Length of a tick in `/proc/PID/stat`: Linux reports 100 per second to user space on every port in use.
const TICK: Duration = Duration::from_millis(10);

/// A reading of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    threads: BTreeMap<u32, Duration>,
    total: Duration,
    written_bytes: u64,
}

impl Usage {
    /// Reads a process: with its threads and the children it has waited for.
    pub fn of(pid: u32) -> Result<Self, BenchError> {
        let mut threads = BTreeMap::new();
        let folder = PathBuf::from(format!("/proc/{pid}/task"));
        let entries = std::fs::read_dir(&folder).map_err(BenchError::file("list", &folder))?;
        for entry in entries.flatten() {
            let Ok(thread) = entry.file_name().to_string_lossy().parse() else { continue };
            // A thread may end between the listing and the reading.
            let Ok(text) = std::fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
            threads.insert(thread, Duration::from_nanos(nanoseconds.unwrap_or(0)));
        }
        let total = cpu_of_stat(&read(pid, "stat")?);
        let written_bytes = number_after(&read(pid, "io")?, "write_bytes:").unwrap_or(0);
        Ok(Self { threads, total, written_bytes })
    }

    /// CPU time used since an earlier reading of the same process.
    pub fn cpu_since(&self, earlier: &Usage) -> Duration {
        let none_ended = earlier.threads.keys().all(|thread| self.threads.contains_key(thread));
        if none_ended && !self.threads.is_empty() {
            let sum = |usage: &Usage| usage.threads.values().sum::<Duration>();
            return sum(self).saturating_sub(sum(earlier));
        }
        self.total.saturating_sub(earlier.total)
    }

    /// Bytes that the process caused to be written to disk since an earlier reading.
    pub fn written_since(&self, earlier: &Usage) -> u64 {
        self.written_bytes.saturating_sub(earlier.written_bytes)
    }
}

/// CPU time of a process since its start; also of one that has ended and was not yet waited for.
pub fn total_cpu(pid: u32) -> Result<Duration, BenchError> {
    let first_thread = read(pid, "schedstat")?;
    let nanoseconds = first_thread.split_whitespace().next().and_then(|word| word.parse().ok());
    // its first thread is known exactly, all of them together in ticks that were cut off
    Ok(cpu_of_stat(&read(pid, "stat")?).max(Duration::from_nanos(nanoseconds.unwrap_or(0))))
}

/// Forgets the peak of a process's memory, so that the next peak is that of the next cell.
/// A process of another user keeps its peak; the reading is then too high, never too low.
pub fn reset_peak_memory(pid: u32) {
    // Only a permission can be missing, and the reading is then still an upper bound.
    drop(std::fs::write(format!("/proc/{pid}/clear_refs"), "5"));
}

/// Peak of a process's resident memory since the last reset.
pub fn peak_memory_bytes(pid: u32) -> Result<u64, BenchError> {
    Ok(number_after(&read(pid, "status")?, "VmHWM:").unwrap_or(0) * 1024)
}

/// Whether a process is there and not a zombie.
pub fn is_running(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A reading of the whole host.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostUsage {
    busy: Duration,
    waited_for_cpu: Duration,
    waited_for_disk: Duration,
}

impl HostUsage {
    /// Reads the host; what a kernel does not offer counts as zero.
    pub fn now() -> Self {
        let pressure = |resource: &str| {
            let text = std::fs::read_to_string(format!("/proc/pressure/{resource}")).unwrap_or_default();
            let total = text.split("total=").nth(1).and_then(|rest| rest.split_whitespace().next());
            Duration::from_micros(total.and_then(|word| word.parse().ok()).unwrap_or(0))
        };
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        Self { busy: busy_of(&stat), waited_for_cpu: pressure("cpu"), waited_for_disk: pressure("io") }
    }

    /// CPU time of all processes since an earlier reading.
    pub fn busy_since(&self, earlier: &HostUsage) -> Duration {
        self.busy.saturating_sub(earlier.busy)
    }

    /// Time in which something waited for a CPU since an earlier reading.
    pub fn waited_for_cpu_since(&self, earlier: &HostUsage) -> Duration {
        self.waited_for_cpu.saturating_sub(earlier.waited_for_cpu)
    }

    /// Time in which something waited for the disk since an earlier reading.
    pub fn waited_for_disk_since(&self, earlier: &HostUsage) -> Duration {
        self.waited_for_disk.saturating_sub(earlier.waited_for_disk)
    }
}

/// The host's load average over the last minute.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

fn read(pid: u32, file: &str) -> Result<String, BenchError> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).map_err(BenchError::file("read", path))
}

/// User and system time of a process and of its ended children: fields 14 to 17; the name before may hold spaces.
fn cpu_of_stat(stat: &str) -> Duration {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u32 =
        after_name.split_whitespace().skip(11).take(4).filter_map(|word| word.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// All time but idle and waiting for disks, from the first line of `/proc/stat`.
fn busy_of(stat: &str) -> Duration {
    let words: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(|word| word.parse().unwrap_or(0))
        .collect();
    let idle = words.get(3).copied().unwrap_or(0) + words.get(4).copied().unwrap_or(0);
    let stolen = words.get(7).copied().unwrap_or(0);
    let ticks = words.iter().sum::<u64>().saturating_sub(idle + stolen);
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

fn number_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(label))?;
    line[label.len()..].split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_fields_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 8 3 2 20 0 4 0 100 1000 200";
        assert_eq!(cpu_of_stat(stat), Duration::from_millis(250));
    }

    #[test]
    fn threads_count_exactly_until_one_of_them_ends() {
        let reading = |threads: &[(u32, u64)], total_ms| Usage {
            threads: threads.iter().map(|(thread, us)| (*thread, Duration::from_micros(*us))).collect(),
            total: Duration::from_millis(total_ms),
            written_bytes: 0,
        };
        let before = reading(&[(1, 100), (2, 50)], 10);
        let grown = reading(&[(1, 400), (2, 50), (3, 7)], 10);
        assert_eq!(grown.cpu_since(&before), Duration::from_micros(307));
        let ended = reading(&[(1, 400)], 30);
        assert_eq!(ended.cpu_since(&before), Duration::from_millis(20));
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        let usage = Usage::of(pid).unwrap();
        assert!(!usage.threads.is_empty());
        assert!(peak_memory_bytes(pid).unwrap() > 0);
        assert!(is_running(pid));
    }

    #[test]
    fn idle_waiting_and_stolen_time_is_not_busy() {
        assert_eq!(busy_of("cpu  10 0 5 900 70 1 2 30 0 0\n"), Duration::from_millis(180));
    }

    #[test]
    fn labelled_numbers_are_found() {
        assert_eq!(number_after("a: 1\nVmHWM:\t 20 kB\n", "VmHWM:"), Some(20));
        assert_eq!(number_after("a: 1\n", "VmHWM:"), None);
    }
}
