//! What arrived ahead of a gap.

use crate::tcp::Seq;
use crate::tcp::buffer::{ChunkPool, ChunkQueue};
use crate::wire::tcp::{SACK_BLOCKS, SackBlock};

/// Runs beyond this are dropped; the peer sends them again.
const RUNS_MAX: usize = 1024;

/// A stretch without gaps.
#[derive(Debug)]
struct Run {
    start: Seq,
    bytes: ChunkQueue,
}

impl Run {
    fn end(&self) -> Seq {
        self.start.plus(self.bytes.length())
    }
}

/// The runs, if there are any: nothing is ahead of a gap at nearly all times, and then this is nearly nothing.
#[derive(Debug, Default)]
pub(super) struct Gaps(Option<Box<Runs>>);

impl Gaps {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The end of the last run.
    pub(super) fn end(&self) -> Option<Seq> {
        self.0.as_ref()?.list.last().map(Run::end)
    }

    /// As `Runs::insert`.
    pub(super) fn insert(&mut self, start: Seq, text: &[u8], memory: usize, pool: &mut ChunkPool) -> Option<SackBlock> {
        let duplicate = self.0.get_or_insert_default().insert(start, text, memory, pool);
        self.0.take_if(|runs| runs.list.is_empty());
        duplicate
    }

    /// Moves what follows `next` without a gap to `queue`; the new RCV.NXT.
    pub(super) fn join(&mut self, next: Seq, queue: &mut ChunkQueue, pool: &mut ChunkPool) -> Seq {
        let Some(runs) = &mut self.0 else { return next };
        let next = runs.join(next, queue, pool);
        self.0.take_if(|runs| runs.list.is_empty());
        next
    }

    /// RFC 2018 §4: the latest changed run first. `duplicate` goes before all (RFC 2883 §4).
    pub(super) fn blocks(&self, duplicate: Option<SackBlock>) -> [Option<SackBlock>; SACK_BLOCKS] {
        match &self.0 {
            Some(runs) => runs.blocks(duplicate),
            None => [duplicate, None, None],
        }
    }

    pub(super) fn clear(&mut self, pool: &mut ChunkPool) {
        for mut run in self.0.take().into_iter().flat_map(|runs| runs.list) {
            run.bytes.clear(pool);
        }
    }
}

/// The runs, and which of them changed last (they are told first, RFC 2018 §4).
///
/// Invariants: runs are in sequence order, not empty, and neither overlap nor touch; all lie beyond RCV.NXT. Their number is
/// bounded by `RUNS_MAX`, their memory by what `insert` allows.
#[derive(Debug, Default)]
struct Runs {
    list: Vec<Run>,
    /// Bytes of memory that the runs take.
    allocated: usize,
    /// A place within each of the last runs that changed, the latest first.
    recent: [Option<Seq>; SACK_BLOCKS],
}

impl Runs {
    /// Adds text; bytes that are there already stay as they are. The range, if all of it was there.
    /// `memory` is how many bytes the runs may take together, nearly: what finds less is dropped, and the peer sends it again.
    fn insert(&mut self, start: Seq, text: &[u8], memory: usize, pool: &mut ChunkPool) -> Option<SackBlock> {
        let (mut at, mut rest) = (start, text);
        let mut added = false;
        while !rest.is_empty() {
            // The first run that reaches `at`.
            let index = self.list.partition_point(|run| run.end().is_before(at));
            let joins = self.list.get(index).is_some_and(|run| run.start.is_at_or_before(at));
            if joins {
                let known = self.list[index].end().since(at).min(rest.len());
                at = at.plus(known);
                rest = &rest[known..];
                if rest.is_empty() {
                    break;
                }
            }
            if self.allocated >= memory || (!joins && self.list.len() >= RUNS_MAX) {
                break;
            }
            if !joins {
                self.list.insert(index, Run { start: at, bytes: ChunkQueue::default() });
            }
            let until_next = self.list.get(index + 1).map_or(rest.len(), |next| next.start.since(at));
            let (now, later) = rest.split_at(until_next.min(rest.len()));
            let before = self.list[index].bytes.allocated();
            self.list[index].bytes.push_sparingly(now, pool);
            self.allocated += self.list[index].bytes.allocated() - before;
            added |= !now.is_empty();
            at = at.plus(now.len());
            rest = later;
            if now.len() == until_next && index + 1 < self.list.len() {
                let next = self.list.remove(index + 1);
                self.list[index].bytes.append(next.bytes, pool);
            }
        }
        self.touch(start);
        (!added && rest.is_empty()).then(|| (start, start.plus(text.len())))
    }

    fn touch(&mut self, at: Seq) {
        let mut recent = [Some(at), None, None];
        let mut filled = 1;
        for other in self.recent.into_iter().flatten() {
            if filled < SACK_BLOCKS && self.run_at(other).map(|run| run.start) != self.run_at(at).map(|run| run.start) {
                recent[filled] = Some(other);
                filled += 1;
            }
        }
        self.recent = recent;
    }

    fn run_at(&self, at: Seq) -> Option<&Run> {
        let index = self.list.partition_point(|run| run.end().is_at_or_before(at));
        self.list.get(index).filter(|run| run.start.is_at_or_before(at))
    }

    fn join(&mut self, mut next: Seq, queue: &mut ChunkQueue, pool: &mut ChunkPool) -> Seq {
        let reached = self.list.partition_point(|run| run.start.is_at_or_before(next));
        for mut run in self.list.drain(..reached) {
            self.allocated -= run.bytes.allocated();
            if run.end().is_after(next) {
                run.bytes.consume(next.since(run.start), pool);
                next = next.plus(run.bytes.length());
                queue.append(run.bytes, pool);
            } else {
                run.bytes.clear(pool);
            }
        }
        next
    }

    fn blocks(&self, duplicate: Option<SackBlock>) -> [Option<SackBlock>; SACK_BLOCKS] {
        let mut blocks = [None; SACK_BLOCKS];
        let recent = self.recent.into_iter().flatten().filter_map(|at| self.run_at(at));
        let candidates = recent.chain(&self.list).map(|run| (run.start, run.end()));
        let mut count = 0;
        for block in duplicate.into_iter().chain(candidates) {
            if count == SACK_BLOCKS {
                break;
            }
            // A duplicate may stand beside the same range as an ordinary block.
            let first = usize::from(duplicate.is_some()).min(count);
            if !blocks[first..count].contains(&Some(block)) {
                blocks[count] = Some(block);
                count += 1;
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::Gaps;
    use crate::tcp::Seq;
    use crate::tcp::buffer::{ChunkPool, ChunkQueue};

    fn ranges(gaps: &Gaps) -> Vec<(u32, u32)> {
        gaps.0.iter().flat_map(|runs| &runs.list).map(|run| (run.start.0, run.end().0)).collect()
    }

    #[test]
    fn runs_join_and_the_first_bytes_stay() {
        let mut pool = ChunkPool::new(1, usize::MAX);
        let mut gaps = Gaps::default();
        assert_eq!(gaps.insert(Seq(10), b"aaa", usize::MAX, &mut pool), None);
        assert_eq!(gaps.insert(Seq(20), b"bbb", usize::MAX, &mut pool), None);
        assert_eq!(ranges(&gaps), [(10, 13), (20, 23)]);
        assert_eq!(gaps.insert(Seq(11), b"xx", usize::MAX, &mut pool), Some((Seq(11), Seq(13))));
        assert_eq!(gaps.insert(Seq(12), b"cccccccccccc", usize::MAX, &mut pool), None);
        assert_eq!(ranges(&gaps), [(10, 24)]);
        assert_eq!(gaps.insert(Seq(5), b"dd", usize::MAX, &mut pool), None);
        assert_eq!(gaps.blocks(None), [Some((Seq(5), Seq(7))), Some((Seq(10), Seq(24))), None]);
        let mut queue = ChunkQueue::default();
        queue.push(b"0123456", &mut pool);
        assert_eq!(gaps.join(Seq(6), &mut queue, &mut pool), Seq(7));
        queue.push(b"eee", &mut pool);
        assert_eq!(gaps.join(Seq(10), &mut queue, &mut pool), Seq(24));
        assert_eq!(queue.slices::<8>(0, 99).0.concat(), b"0123456deeeaaacccccccbbbc");
        assert!(gaps.is_empty());
    }

    #[test]
    fn memory_is_bounded_whatever_the_pieces() {
        const MEMORY: usize = 300_000;
        for (piece, distance) in [(1_usize, 3_u32), (2, 3), (700, 1500), (1400, 1500), (2100, 4000), (9000, 9001)] {
            let mut pool = ChunkPool::new(1, usize::MAX);
            let mut gaps = Gaps::default();
            for round in 0..3 {
                for number in 0..900 {
                    // The second and third time each run gets longer.
                    let at = Seq(10 + number * distance + round * (piece as u32 / 3));
                    gaps.insert(at, &vec![0; piece], MEMORY, &mut pool);
                }
            }
            let runs = gaps.0.as_ref().expect("not all joined");
            let allocated: usize = runs.list.iter().map(|run| run.bytes.allocated()).sum();
            assert_eq!(runs.allocated, allocated);
            assert!(allocated < MEMORY + (64 << 10), "{allocated} for pieces of {piece}");
            let mut queue = ChunkQueue::default();
            gaps.join(Seq(10), &mut queue, &mut pool);
            gaps.join(Seq(u32::MAX / 4), &mut queue, &mut pool);
            assert!(gaps.is_empty());
        }
    }

    #[test]
    fn a_run_takes_little_more_memory_than_its_bytes() {
        let mut pool = ChunkPool::new(1, usize::MAX);
        let mut gaps = Gaps::default();
        for number in 0..8 {
            gaps.insert(Seq(10 + 1448 * number), &[0; 1448], usize::MAX, &mut pool);
        }
        let allocated = gaps.0.map_or(0, |runs| runs.allocated);
        assert!(allocated <= 8 * 1448 + (2 << 10), "{allocated}");
    }
}
