// SPDX-License-Identifier: GPL-2.0-only
//! The table of boots, and running it.

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread::{self, available_parallelism};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use scx_preload_tests::Report;
use scx_preload_tests::bench;

use crate::cpio::Archive;
use crate::debian::Image;
use crate::lab::Lab;
use crate::qemu::{Clock, Shape};
use crate::{drills, emulator, kit, programs, step, unit};

/// The kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Which {
    /// The newest for Debian's stable release, with sched_ext.
    Newest,
    /// The same version with PREEMPT_RT.
    Realtime,
    /// Another kernel with sched_ext.
    Other,
    /// That of Debian stable, without sched_ext.
    Stable,
}

/// Kind of machine and its boot medium.
pub enum Vm {
    /// Our initramfs: the suites without a distribution.
    Tiny,
    /// The same with the other schedulers of the benchmark.
    Peers,
    /// A Debian root, booted from its dracut image.
    Debian,
    /// The same root, booted from another image, generated with drop-ins installed.
    Image(Image),
    /// The dracut image with files added.
    Drill(fn(&mut Archive) -> Result<()>),
    /// The dracut image with the object of the tutorial's author.
    Tutorial,
    /// The dracut image, and a root with scx_loader and its schedulers.
    ScxLoader,
}

/// One boot of one VM and its suites.
pub struct Boot {
    pub name: &'static str,
    pub vm: Vm,
    pub kernel: Which,
    pub shape: Shape,
    pub clock: Clock,
    pub cmdline: &'static str,
    /// Names in the guest.
    pub suites: &'static [&'static str],
}

/// A slow host delays nothing. One second is 125 million instructions of all CPUs
/// together: enough for 8 busy CPUs, and cheap enough to observe them for seconds.
pub const ICOUNT: Clock = Clock::Icount { shift: 3 };

pub const fn tiny(name: &'static str, kernel: Which, suites: &'static [&'static str]) -> Boot {
    Boot {
        name,
        vm: Vm::Tiny,
        kernel,
        // Two last-level caches, and SMT.
        shape: Shape::new("8,sockets=2,cores=2,threads=2"),
        clock: ICOUNT,
        cmdline: "",
        suites,
    }
}

const fn shaped(name: &'static str, shape: Shape) -> Boot {
    Boot {
        shape,
        ..tiny(name, Which::Newest, &["topology"])
    }
}

/// Small, because there are many of these boots.
pub const DEBIAN: Shape = Shape::new("4,sockets=2,cores=1,threads=2");

const fn debian(
    name: &'static str,
    cmdline: &'static str,
    suites: &'static [&'static str],
) -> Boot {
    Boot {
        name,
        vm: Vm::Debian,
        kernel: Which::Newest,
        shape: DEBIAN,
        clock: ICOUNT,
        cmdline,
        suites,
    }
}

const fn drill(
    name: &'static str,
    files: fn(&mut Archive) -> Result<()>,
    suites: &'static [&'static str],
) -> Boot {
    Boot {
        name,
        vm: Vm::Drill(files),
        kernel: Which::Newest,
        shape: DEBIAN,
        clock: ICOUNT,
        cmdline: "",
        suites,
    }
}

/// Without systemd in the initramfs.
const fn plain_initramfs(name: &'static str, image: Image) -> Boot {
    Boot {
        vm: Vm::Image(image),
        ..debian(name, "", &["boot_plain_initramfs"])
    }
}

/// Two last-level caches per node.
const TWO_NODES: &[&str] = &[
    "-object",
    "memory-backend-ram,id=memory0,size=768M",
    "-object",
    "memory-backend-ram,id=memory1,size=768M",
    "-numa",
    "node,nodeid=0,cpus=0-3,memdev=memory0",
    "-numa",
    "node,nodeid=1,cpus=4-7,memdev=memory1",
    "-numa",
    "dist,src=0,dst=1,val=20",
];

/// One last-level cache per node; 0 and 2 are close to each other, so are 1 and 3.
const FOUR_NODES: &[&str] = &[
    "-object",
    "memory-backend-ram,id=memory0,size=384M",
    "-object",
    "memory-backend-ram,id=memory1,size=384M",
    "-object",
    "memory-backend-ram,id=memory2,size=384M",
    "-object",
    "memory-backend-ram,id=memory3,size=384M",
    "-numa",
    "node,nodeid=0,cpus=0-1,memdev=memory0",
    "-numa",
    "node,nodeid=1,cpus=2-3,memdev=memory1",
    "-numa",
    "node,nodeid=2,cpus=4-5,memdev=memory2",
    "-numa",
    "node,nodeid=3,cpus=6-7,memdev=memory3",
    "-numa",
    "dist,src=0,dst=1,val=28",
    "-numa",
    "dist,src=0,dst=2,val=16",
    "-numa",
    "dist,src=0,dst=3,val=22",
    "-numa",
    "dist,src=1,dst=2,val=22",
    "-numa",
    "dist,src=1,dst=3,val=16",
    "-numa",
    "dist,src=2,dst=3,val=28",
];

/// The first node has CPUs only, the last memory only.
const ODD_NODES: &[&str] = &[
    "-object",
    "memory-backend-ram,id=memory1,size=768M",
    "-object",
    "memory-backend-ram,id=memory2,size=768M",
    "-numa",
    "node,nodeid=0,cpus=0-5",
    "-numa",
    "node,nodeid=1,cpus=6-11,memdev=memory1",
    "-numa",
    "node,nodeid=2,memdev=memory2",
];

pub const BOOTS: &[Boot] = &[
    // Suites that look for real races: CPUs run in parallel.
    Boot {
        clock: Clock::Host,
        ..tiny("races", Which::Newest, &["handover", "hotplug", "races"])
    },
    // The longest boots first, so that all cores finish at about the same time.
    Boot {
        // Hundreds of loads of 600 million instructions each have to fit into the limit.
        clock: Clock::Icount { shift: 1 },
        ..tiny("newest_killed", Which::Newest, &["killed"])
    },
    Boot {
        cmdline: "rd.scx_preload=0 lockdown=integrity",
        ..tiny(
            "newest",
            Which::Newest,
            &["smoke", "loader", "initrd", "dropins", "hooks", "lockdown"],
        )
    },
    tiny(
        "newest_bypass",
        Which::Newest,
        &["bypass", "kernel_bypass", "coexist", "survive"],
    ),
    tiny(
        "newest_sched",
        Which::Newest,
        &[
            "sched",
            "affinity_two_llcs",
            "cgroup",
            "topology",
            "partitions",
        ],
    ),
    tiny(
        "gallery",
        Which::Newest,
        &["gallery_order", "gallery_queue", "gallery_balance"],
    ),
    // Suites that depend on kernel interfaces; policy is the same on both kernels.
    tiny(
        "other",
        Which::Other,
        &["smoke", "loader", "handover", "hooks", "hotplug"],
    ),
    tiny("realtime", Which::Realtime, &["bypass_without_timer"]),
    Boot {
        suites: &["topology", "crowd"],
        ..shaped("one_cpu", Shape::new("1"))
    },
    Boot {
        suites: &["topology", "affinity", "crowd_on_one_cpu"],
        ..shaped("one_llc", Shape::new("4,sockets=1,cores=4,threads=1"))
    },
    Boot {
        cmdline: "nohz_full=2-3 rcu_nocbs=2-3",
        shape: Shape::new("4,sockets=1,cores=4,threads=1"),
        ..tiny("nohz_full", Which::Newest, &["isolation"])
    },
    Boot {
        cmdline: "isolcpus=3",
        suites: &["isolcpus"],
        ..shaped("isolcpus", Shape::new("4,sockets=1,cores=4,threads=1"))
    },
    Boot {
        suites: &["topology", "partitions", "gallery_four_llc"],
        ..shaped("four_llc", Shape::new("8,sockets=4,cores=2,threads=1"))
    },
    shaped(
        "two_nodes",
        Shape {
            args: TWO_NODES,
            ..Shape::new("8,sockets=4,cores=2,threads=1")
        },
    ),
    shaped(
        "four_nodes",
        Shape {
            args: FOUR_NODES,
            ..Shape::new("8,sockets=4,cores=2,threads=1")
        },
    ),
    shaped(
        "odd_nodes",
        Shape {
            args: ODD_NODES,
            ..Shape::new("12,sockets=2,cores=2,threads=3")
        },
    ),
    // The kernel boots 0 and 2, first threads first: 1, 5 and 7 are never online, 8 to 11 are
    // possible but not present.
    Boot {
        cmdline: "maxcpus=2 scx_test.online=3,4,6",
        ..shaped(
            "holes",
            Shape::new("8,maxcpus=12,sockets=3,cores=2,threads=2"),
        )
    },
    // Under icount, this many CPUs take too long to boot. On two cores, they never finish
    // calibrating the delay loop.
    Boot {
        clock: Clock::Host,
        cmdline: "lpj=4000000",
        ..shaped("sixty_four", Shape::new("64,sockets=4,cores=8,threads=2"))
    },
    debian("boot", "", &["boot"]),
    debian("mode_off", "scx_preload.mode=off", &["boot_mode_off"]),
    debian("rd_off", "rd.scx_preload=0", &["boot_rd_off"]),
    drill("garbage_object", drills::garbage_object, &["boot_fallback"]),
    drill(
        "rejected_object",
        drills::rejected_object,
        &["boot_fallback"],
    ),
    drill("other_first", drills::other_first, &["boot_other_first"]),
    debian("standby", "scx_preload.mode=standby", &["boot_standby"]),
    Boot {
        vm: Vm::Image(Image::Dracut),
        ..debian("override", "", &["boot_override"])
    },
    plain_initramfs("dracut_plain", Image::DracutPlain),
    plain_initramfs("initramfs_tools", Image::InitramfsTools),
    // Not generated by mkinitcpio, which Debian does not package.
    plain_initramfs("mkinitcpio_hook", Image::MkinitcpioHook),
    Boot {
        vm: Vm::Image(Image::InitramfsTools),
        ..debian(
            "initramfs_tools_off",
            "scx_preload.mode=off",
            &["boot_plain_initramfs_off"],
        )
    },
    Boot {
        vm: Vm::Tutorial,
        ..debian("tutorial", "", &["tutorial"])
    },
    Boot {
        kernel: Which::Stable,
        ..debian("no_sched_ext", "", &["boot_no_sched_ext"])
    },
];

/// Not part of the tests: building the peers takes longer than all tests.
const PEERS: &[Boot] = &[
    Boot {
        vm: Vm::Peers,
        ..tiny("peers", Which::Newest, &["peers"])
    },
    Boot {
        vm: Vm::ScxLoader,
        ..debian("scx_loader", "", &["scx_loader"])
    },
];

/// A boot with the full names of its selected tests.
pub struct Planned {
    pub boot: &'static Boot,
    pub tests: Vec<String>,
}

/// The boots with tests whose names contain `filter`, or one of its comma-separated parts.
pub fn plan(boots: &'static [Boot], filter: &str) -> Result<Vec<Planned>> {
    let out = Command::new(programs::find("guest")?)
        .arg("--list")
        .output()
        .context("cannot run guest")?;
    let list = String::from_utf8(out.stdout).context("guest --list")?;
    let mut plan = Vec::new();
    for boot in boots {
        let mut tests = Vec::new();
        for suite in boot.suites {
            let of_suite = list.lines().filter(|l| l.starts_with(&format!("{suite}/")));
            let names: Vec<_> = of_suite.map(|l| format!("{}/{l}", boot.name)).collect();
            ensure!(
                !names.is_empty(),
                "boot {} lists the suite {suite}, which the guest does not have",
                boot.name
            );
            let due = |name: &String| filter.split(',').any(|part| name.contains(part));
            tests.extend(names.into_iter().filter(due));
        }
        if !tests.is_empty() {
            plan.push(Planned { boot, tests });
        }
    }
    Ok(plan)
}

#[derive(Default)]
pub struct Tally {
    pub passed: usize,
    /// Failed tests and boots.
    pub failed: Vec<Failed>,
    /// Tests that passed only at the second try, with the first failure.
    again: Vec<Failed>,
}

pub struct Failed {
    pub name: String,
    /// The last line of its error.
    why: String,
}

impl Failed {
    pub fn new(name: impl Into<String>, error: &str) -> Self {
        let last = error.lines().rfind(|line| !line.trim().is_empty());
        Failed {
            name: name.into(),
            why: last
                .unwrap_or_default()
                .trim()
                .trim_start_matches(": ")
                .into(),
        }
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.again.extend(other.again);
    }

    /// Printed at the end, as earlier output may be cut off.
    fn show(&self) {
        for Failed { name, why } in &self.again {
            println!("  failed once: {name}: {why}");
        }
        for Failed { name, .. } in &self.failed {
            println!("  FAIL  {name}");
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
    }
}

pub fn setup(refresh: bool) -> Result<()> {
    Lab::new(refresh)?.prepare(&BOOTS.iter().collect::<Vec<_>>())
}

pub fn run(refresh: bool, unit: bool, seed: u32, filter: &str) -> Result<ExitCode> {
    let tally = if unit { unit::run()? } else { Tally::default() };
    let plan = plan(BOOTS, filter)?;
    let on_host = kit::plan(filter);
    ensure!(
        !plan.is_empty() || !on_host.is_empty(),
        "no test has {filter:?} in its name"
    );
    let mut lab = Lab::new(refresh)?.with_seed(seed);
    if !on_host.is_empty() {
        kit::prepare(&mut lab)?;
    }
    lab.prepare(&plan.iter().map(|p| p.boot).collect::<Vec<_>>())?;
    run_plan(&lab, &on_host, &plan, filter, tally)
}

/// Builds the selected schedulers of the benchmark and runs their tests.
pub fn run_peers(refresh: bool, filter: &str) -> Result<ExitCode> {
    let plan = plan(PEERS, filter)?;
    ensure!(!plan.is_empty(), "no test has {filter:?} in its name");
    let mut lab = Lab::new(refresh)?;
    lab.prepare(&plan.iter().map(|p| p.boot).collect::<Vec<_>>())?;
    let due = |name: &&str| {
        plan.iter()
            .any(|p| p.tests.iter().any(|t| t.ends_with(&format!("/{name}"))))
    };
    let names = bench::PEERS.iter().map(|(name, _)| *name);
    let names: Vec<_> = names.filter(due).collect();
    lab.prepare_peers(&names)?;
    if plan.iter().any(|p| matches!(p.boot.vm, Vm::ScxLoader)) {
        lab.prepare_scx_loader()?;
    }
    run_plan(&lab, &[], &plan, filter, Tally::default())
}

fn run_plan(
    lab: &Lab,
    on_host: &[kit::Test],
    plan: &[Planned],
    filter: &str,
    mut tally: Tally,
) -> Result<ExitCode> {
    // Boots with `Clock::Host` require all cores of the host.
    let (racing, counted): (Vec<_>, Vec<_>) = plan
        .iter()
        .partition(|planned| planned.boot.clock == Clock::Host);
    for planned in racing {
        tally.add(boot_twice(lab, planned, filter)?);
    }
    let boots = counted.into_iter().map(Job::Boot);
    let host = (!on_host.is_empty()).then_some(Job::Host(on_host));
    let due = Mutex::new(host.into_iter().chain(boots));
    let next = || due.lock().ok()?.next();
    let work = || -> Result<Tally> {
        let mut tally = Tally::default();
        while let Some(job) = next() {
            match job {
                Job::Boot(planned) => tally.add(run_boot(lab, planned, filter)?),
                Job::Host(tests) => kit::run(lab, tests, &mut tally),
            }
        }
        Ok(tally)
    };
    // Under icount, a machine uses one thread.
    let cores = available_parallelism().context("cannot count the CPUs")?;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores.get()).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let done = worker.join().map_err(|_| anyhow!("a worker panicked"))?;
            tally.add(done?);
        }
        anyhow::Ok(())
    })?;
    tally.show();
    Ok(if tally.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Jobs that run in parallel.
enum Job<'a> {
    Boot(&'a Planned),
    Host(&'a [kit::Test]),
}

/// For boots with `Clock::Host`: failed tests are repeated once, in a fresh boot, and listed at
/// the end.
fn boot_twice(lab: &Lab, planned: &Planned, filter: &str) -> Result<Tally> {
    /// With one failure in some dozens of boots, two in a row happen.
    const TRIES: usize = 3;
    let mut first = run_boot(lab, planned, filter)?;
    let boot = planned.boot;
    for _ in 1..TRIES {
        if first.failed.is_empty() || !emulator::failed(&step::boot_log(boot.name)?) {
            break;
        }
        println!(
            "  {}: a failure of QEMU, see emulator.rs; repeating the boot",
            boot.name
        );
        let mut again = first.again;
        again.extend(first.failed);
        first = run_boot(lab, planned, filter)?;
        first.again = again;
    }
    let Some(again) = again(planned, &first) else {
        return Ok(first);
    };
    println!(
        "  {}: repeating the failed tests in a fresh boot",
        boot.name
    );
    let mut second = run_boot(lab, &again, &again.tests.join(","))?;
    second.passed += first.passed;
    second.again = first.again;
    if second.failed.is_empty() {
        second.again.extend(first.failed);
    }
    Ok(second)
}

/// Kernel warnings are not repeated, nor are more failures than chance explains.
fn again(planned: &Planned, first: &Tally) -> Option<Planned> {
    const MOST: usize = 3;
    let names: Vec<_> = first.failed.iter().map(|f| f.name.clone()).collect();
    let due = |name: &String| planned.tests.contains(name) && !name.ends_with("/kernel_is_clean");
    (!names.is_empty() && names.len() <= MOST && names.iter().all(due)).then_some(Planned {
        boot: planned.boot,
        tests: names,
    })
}

/// Prints the boot's name in each line, because boots run in parallel.
fn run_boot(lab: &Lab, planned: &Planned, filter: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    let boot = planned.boot;
    let cmdline = format!(
        "scx_test.boot={} scx_test.suite={} scx_test.filter={filter}",
        boot.name,
        boot.suites.join(",")
    );
    let log = step::boot_log(boot.name)?;
    println!(
        "boot {}: Linux {}, console: {}",
        boot.name,
        lab.kernel(boot.kernel)?.release,
        log.display()
    );
    let start = Instant::now();
    let mut due = planned.tests.clone();
    let mut running = None;
    let on_report = |report| match report {
        Report::Start { name } => running = Some(name),
        Report::Result { name, ms, error } => {
            running = None;
            due.retain(|d| *d != name);
            show(name, ms, error.as_deref(), &mut tally);
        }
        Report::Text { line } => println!("  {}: {line}", boot.name),
        Report::Sample { .. } | Report::Done => {}
    };
    let ended = lab
        .machine(boot, &cmdline)
        .and_then(|mut machine| machine.boot(on_report));
    if let Err(e) = &ended {
        let mut error = format!("{e:#}");
        if let Some(name) = running {
            error += &format!("\nwhile {name} was running");
        }
        fail(format!("boot {}", boot.name), &error, &mut tally);
    }
    for name in due {
        fail(name, "no result", &mut tally);
    }
    println!(
        "boot {}: ended after {:.0} s",
        boot.name,
        start.elapsed().as_secs_f32()
    );
    Ok(tally)
}

pub fn show(name: String, ms: u64, error: Option<&str>, tally: &mut Tally) {
    match error {
        None => {
            tally.passed += 1;
            println!("  ok    {name} ({ms} ms)");
        }
        Some(error) => fail(name, error, tally),
    }
}

/// Printed at once, because boots run in parallel.
fn fail(name: String, error: &str, tally: &mut Tally) {
    let lines = error.lines().map(|line| format!("\n        {line}"));
    println!("  FAIL  {name}{}", lines.collect::<String>());
    tally.failed.push(Failed::new(name, error));
}
