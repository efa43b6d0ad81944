//! Which hosts wait for which, and in what order they start: in time that grows with what the file says, not with its square.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::file::draft::Draft;
use crate::file::plan::HostPlan;
use crate::flags::Name;

/// Which hosts wait for each other.
pub(super) struct Waits<'d> {
    /// The number of a host's group: all that wait, in the end, for each other.
    groups: HashMap<&'d Name, usize>,
}

impl<'d> Waits<'d> {
    /// Those of a draft. Hosts that are not there are waited for by nobody.
    pub(super) fn of(draft: &'d Draft) -> Waits<'d> {
        let numbers = numbered(draft.hosts.iter().map(|(name, _)| &name.value));
        let on = |index: usize| {
            let names = draft.hosts[index].1.depends_on.iter().flatten();
            names.filter_map(|on| numbers.get(&on.value).copied()).collect::<Vec<usize>>()
        };
        let edges: Vec<Vec<usize>> = (0..draft.hosts.len()).map(on).collect();
        let groups = groups(&edges);
        Waits { groups: draft.hosts.iter().map(|(name, _)| &name.value).zip(groups).collect() }
    }

    /// Whether there is such a host.
    pub(super) fn knows(&self, host: &Name) -> bool {
        self.groups.contains_key(host)
    }

    /// Whether each of two hosts waits, in the end, for the other one, or they are the same.
    pub(super) fn for_each_other(&self, host: &Name, other: &Name) -> bool {
        self.groups.get(host) == self.groups.get(other)
    }
}

/// Those that others depend on first; otherwise as they were written.
pub(super) fn in_order(hosts: Vec<HostPlan>) -> Vec<HostPlan> {
    let numbers = numbered(hosts.iter().map(|host| &host.name));
    let mut missing = vec![0; hosts.len()];
    let mut dependents = vec![Vec::new(); hosts.len()];
    for (index, host) in hosts.iter().enumerate() {
        for on in host.depends_on.iter().filter_map(|on| numbers.get(on)) {
            missing[index] += 1;
            dependents[*on].push(index);
        }
    }
    let mut next: BinaryHeap<Reverse<usize>> =
        missing.iter().enumerate().filter(|(_, missing)| **missing == 0).map(|(index, _)| Reverse(index)).collect();
    let mut hosts: Vec<Option<HostPlan>> = hosts.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(hosts.len());
    while let Some(Reverse(index)) = next.pop() {
        ordered.extend(hosts[index].take());
        for dependent in &dependents[index] {
            missing[*dependent] -= 1;
            if missing[*dependent] == 0 {
                next.push(Reverse(*dependent));
            }
        }
    }
    ordered
}

fn numbered<'n>(names: impl Iterator<Item = &'n Name>) -> HashMap<&'n Name, usize> {
    names.enumerate().map(|(index, name)| (name, index)).collect()
}

/// The number of each node's strongly connected component, by Kosaraju's algorithm.
fn groups(edges: &[Vec<usize>]) -> Vec<usize> {
    let mut seen = vec![false; edges.len()];
    let mut finished = Vec::with_capacity(edges.len());
    for start in 0..edges.len() {
        walk(edges, start, &mut seen, |node| finished.push(node));
    }
    let mut reversed = vec![Vec::new(); edges.len()];
    for (from, to) in edges.iter().enumerate().flat_map(|(from, all)| all.iter().map(move |to| (from, *to))) {
        reversed[to].push(from);
    }
    let mut groups = vec![0; edges.len()];
    seen.fill(false);
    for start in finished.into_iter().rev() {
        walk(&reversed, start, &mut seen, |node| groups[node] = start);
    }
    groups
}

/// Visits what `start` leads to and was not seen, depth first; a node when everything behind it was visited.
fn walk(edges: &[Vec<usize>], start: usize, seen: &mut [bool], mut finish: impl FnMut(usize)) {
    if std::mem::replace(&mut seen[start], true) {
        return;
    }
    // Each with how many of its edges were followed.
    let mut path = vec![(start, 0)];
    while let Some((node, followed)) = path.last_mut() {
        let Some(next) = edges[*node].get(*followed) else {
            finish(*node);
            path.pop();
            continue;
        };
        *followed += 1;
        if !std::mem::replace(&mut seen[*next], true) {
            path.push((*next, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_lead_to_each_other_are_a_group() {
        // 0 → 1 ⇄ 2 → 3, 3 → 4 → 5 → 3, 6 → 6.
        let groups = groups(&[vec![1], vec![2], vec![1, 3], vec![4], vec![5], vec![3], vec![6]]);
        assert_eq!(groups[1], groups[2]);
        assert_eq!((groups[3], groups[4]), (groups[4], groups[5]));
        let mut apart = [groups[0], groups[1], groups[3], groups[6]];
        apart.sort_unstable();
        assert!(apart.windows(2).all(|pair| pair[0] < pair[1]), "{groups:?}");
    }

    #[test]
    fn a_chain_of_many_is_no_deep_recursion() {
        let length = 200_000;
        let edges: Vec<Vec<usize>> =
            (0..length).map(|node| (node + 1 < length).then_some(node + 1).into_iter().collect()).collect();
        let mut groups = groups(&edges);
        groups.sort_unstable();
        assert!(groups.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
