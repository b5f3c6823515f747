// SPDX-License-Identifier: GPL-2.0-only
//! What a fair scheduler would do: the reference of tests and benchmark rows.

/// Tasks that are always runnable, and the CPUs that they may run on, a bit each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Number of tasks.
    pub tasks: usize,
    /// Allowed CPUs.
    pub cpus: u64,
}

impl Group {
    /// `tasks` of them, allowed on `cpus`.
    pub const fn new(tasks: usize, cpus: u64) -> Self {
        Group { tasks, cpus }
    }

    /// The allowed CPUs.
    pub fn cpus(&self) -> impl Iterator<Item = usize> {
        let cpus = self.cpus;
        (0..64).filter(move |cpu| cpus >> cpu & 1 == 1)
    }
}

/// One that has to stay on a CPU, beside some that may leave it, and many elsewhere.
pub const ONE_BESIDE_SOME_THAT_MAY_LEAVE: [Group; 3] = [
    Group::new(12, 0b0011),
    Group::new(4, 0b1100),
    Group::new(1, 0b0100),
];

/// The max-min fair share of each task, in CPUs and in the order of groups: nobody's can be
/// raised without lowering that of a task with less. Tasks have equal weight, and one runs on
/// one CPU at a time.
pub fn fair_shares(groups: &[Group]) -> Vec<f64> {
    let of_groups = groups.iter().zip(max_min(groups));
    of_groups
        .flat_map(|(group, share)| vec![share; group.tasks])
        .collect()
}

/// The share of a task of each group.
fn max_min(groups: &[Group]) -> Vec<f64> {
    let mut shares = vec![None; groups.len()];
    while shares.contains(&None) {
        // A set of groups is a bottleneck if its CPUs are all that the set may use.
        let level = |set: usize| {
            let of_set = || (0..groups.len()).filter(|nth| set >> nth & 1 == 1);
            let cpus = of_set().fold(0, |cpus, nth| cpus | groups[nth].cpus);
            let (mut free, mut tasks) = (f64::from(cpus.count_ones()), 0);
            for nth in of_set() {
                match shares[nth] {
                    Some(share) => free -= share * groups[nth].tasks as f64,
                    None => tasks += groups[nth].tasks,
                }
            }
            (tasks > 0).then(|| free / tasks as f64)
        };
        let sets = 1..1_usize << groups.len();
        let least = sets.filter_map(|set| Some((level(set)?, set)));
        let Some((share, set)) = least.min_by(|a, b| a.0.total_cmp(&b.0)) else {
            break;
        };
        let all = share >= 1.0;
        for (nth, of_group) in shares.iter_mut().enumerate() {
            if all || set >> nth & 1 == 1 {
                of_group.get_or_insert(share.min(1.0));
            }
        }
    }
    shares.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(groups: &[(usize, u64)]) -> Vec<f64> {
        let groups: Vec<_> = groups
            .iter()
            .map(|&(tasks, cpus)| Group::new(tasks, cpus))
            .collect();
        max_min(&groups)
            .into_iter()
            .map(|share| (share * 1000.0).round() / 1000.0)
            .collect()
    }

    #[test]
    fn share_of_all_cpus() {
        assert_eq!(shares(&[(8, 0b1111)]), [0.5]);
        assert_eq!(shares(&[(2, 0b1111)]), [1.0]);
    }

    #[test]
    fn a_bottleneck_is_left_to_those_who_must() {
        assert_eq!(
            shares(&[(12, 0b0011), (4, 0b1100), (1, 0b0100)]),
            [0.167, 0.4, 0.4]
        );
        assert_eq!(shares(&[(1, 0b01), (1, 0b11), (1, 0b10)]), [0.667; 3]);
        assert_eq!(shares(&[(4, 0b01), (1, 0b11)]), [0.25, 1.0]);
        assert_eq!(
            shares(&[(6, 0b1101), (2, 0b0001), (6, 0b1010), (4, 0b1000)]),
            [0.25, 0.25, 0.2, 0.2]
        );
    }
}
