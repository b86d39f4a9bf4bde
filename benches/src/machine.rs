//! Facts of the machine that figures are to be read with.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::samples::{Quantiles, Samples};

/// One page of a database's log.
const PAGE: usize = 8 << 10;

/// Pages of the file that is written, before it begins anew: a segment of PostgreSQL's log.
const PAGES: u64 = 2_048;

/// What the figures depend on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor.
    pub cpu: String,
    /// How many of them.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel.
    pub kernel: String,
    /// The file system of the databases.
    pub file_system: String,
    /// How much else ran: the load average of the last minute before the run.
    pub load_before: String,
    /// Write and fdatasync of 8 KiB where the databases are, in nanoseconds.
    pub fsync: Quantiles,
}

// === impl Machine ===

impl Machine {
    /// Reads the facts, and times `syncs` writes in a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn read(folder: &Path, syncs: usize) -> io::Result<Self> {
        let cpu = read("/proc/cpuinfo");
        let memory = read("/proc/meminfo");
        let kib = field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
        let load = read("/proc/loadavg");
        Ok(Self {
            cpu: field(&cpu, "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib.unwrap_or(0) / 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(folder),
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
            fsync: fsync(folder, syncs)?,
        })
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// Type and source of the longest mount point that the folder is below.
fn file_system(folder: &Path) -> String {
    let mounts = read("/proc/mounts");
    let below = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (source, point, kind) = (words.next()?, words.next()?, words.next()?);
        folder
            .starts_with(point)
            .then(|| (point.len(), format!("{kind} on {source}")))
    });
    below
        .max()
        .map_or_else(|| "unknown".to_owned(), |(_, text)| text)
}

/// Writes pages into a file that has its size already, as the log of a database does, and waits for the disk
/// each time.
fn fsync(folder: &Path, syncs: usize) -> io::Result<Quantiles> {
    let path = folder.join("fsync.probe");
    let file = File::create(&path)?;
    for page in 0..PAGES {
        file.write_all_at(&[0; PAGE], page * PAGE as u64)?;
    }
    file.sync_all()?;
    let mut samples = Samples::with_capacity(syncs);
    for page in (0..PAGES).cycle().take(syncs) {
        let begun = Instant::now();
        file.write_all_at(&[1; PAGE], page * PAGE as u64)?;
        file.sync_data()?;
        samples.push(begun.elapsed());
    }
    fs::remove_file(path)?;
    Ok(samples.quantiles())
}

/// Processor time that a process and all below it have taken, those that ended included.
pub fn cpu_of_tree(root: u32) -> Duration {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let stat = id.and_then(|id: u32| Some((id, Stat::read(id)?)));
        processes.extend(stat);
    }
    let in_tree = |id: u32| {
        let mut at = Some(id);
        while let Some(id) = at.filter(|id| *id != root) {
            at = processes.get(&id).map(|stat| stat.parent);
        }
        at.is_some()
    };
    let ticks = processes.iter().filter(|(id, _)| in_tree(**id));
    let ticks: u64 = ticks.map(|(_, stat)| stat.ticks).sum();
    Duration::from_secs(ticks)
        / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100)
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name may hold anything, parentheses and spaces too; what follows it may not.
        let (_, rest) = text.rsplit_once(')')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            // User and system time, its own and that of children that it has waited for.
            ticks: number(11)? + number(12)? + number(13)? + number(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_time() {
        let id = std::process::id();
        let begun = cpu_of_tree(id);
        let mut sum = 0u64;
        while cpu_of_tree(id) <= begun {
            sum = std::hint::black_box((0..100_000u64).fold(sum, u64::wrapping_add));
        }
    }

    #[test]
    fn a_disk_takes_time() {
        let quantiles = fsync(&std::env::temp_dir(), 3).unwrap();
        assert!(quantiles.count == 3 && quantiles.p50 > 0);
    }
}
