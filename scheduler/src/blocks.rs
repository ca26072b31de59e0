//! Who owns which KV block, and which blocks of the past can be used again.
//!
//! A block is *used* (sequences hold references), *cached* (nobody holds it, its content has a
//! name and can be shared again) or *free*. Nothing here knows sequences or devices.
//! Next: `sequence.rs`.

use gimbal_batch::{BlockId, Kv};

use crate::count;
use crate::key::{Key, KeyMap};

const NONE: u32 = u32::MAX;

/// All blocks of a device.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    blocks: Vec<Block>,
    free: Vec<BlockId>,
    by_key: KeyMap<BlockId>,
    /// Ends of the list of cached blocks, least recently released first.
    oldest: u32,
    newest: u32,
    cached: u32,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    refs: u32,
    key: Option<Key>,
    older: u32,
    newer: u32,
}

const EMPTY: Block = Block { refs: 0, key: None, older: NONE, newer: NONE };

impl Blocks {
    pub(crate) fn new(kv: Kv) -> Self {
        // A hash map that is at most half full never grows: it cleans itself in place.
        let by_key = KeyMap::with_capacity_and_hasher(2 * kv.blocks as usize, Default::default());
        let (oldest, newest, cached) = (NONE, NONE, 0);
        let blocks = vec![EMPTY; kv.blocks as usize];
        let free = (0..kv.blocks).rev().map(BlockId).collect();
        Self { blocks, free, by_key, oldest, newest, cached }
    }

    /// Forgets all content and all owners.
    pub(crate) fn reset(&mut self) {
        self.blocks.fill(EMPTY);
        self.by_key.clear();
        self.free.clear();
        self.free.extend((0..count(self.blocks.len())).rev().map(BlockId));
        (self.oldest, self.newest, self.cached) = (NONE, NONE, 0);
    }

    /// Blocks that `take` could give.
    pub(crate) fn available(&self) -> u32 {
        self.free() + self.cached
    }

    pub(crate) fn free(&self) -> u32 {
        count(self.free.len())
    }

    pub(crate) fn cached(&self) -> u32 {
        self.cached
    }

    pub(crate) fn used(&self) -> u32 {
        count(self.blocks.len()) - self.available()
    }

    /// A block for one new owner: an empty one, or else the least recently used cached one.
    pub(crate) fn take(&mut self) -> Option<BlockId> {
        let block = match self.free.pop() {
            Some(block) => block,
            None if self.oldest == NONE => return None,
            None => {
                let block = BlockId(self.oldest);
                self.unlink(block);
                self.forget(block);
                block
            }
        };
        self.blocks[block.0 as usize].refs = 1;
        Some(block)
    }

    /// The block with this content, if there is one.
    pub(crate) fn find(&self, key: Key) -> Option<BlockId> {
        self.by_key.get(&key).copied()
    }

    /// True when nobody holds the block.
    pub(crate) fn is_idle(&self, block: BlockId) -> bool {
        self.blocks[block.0 as usize].refs == 0
    }

    /// Adds an owner to a block that `find` gave.
    pub(crate) fn share(&mut self, block: BlockId) {
        if self.is_idle(block) {
            self.unlink(block);
        }
        self.blocks[block.0 as usize].refs += 1;
    }

    /// Names the content of a held block. The first block with a name keeps it.
    pub(crate) fn publish(&mut self, block: BlockId, key: Key) {
        let entry = &mut self.blocks[block.0 as usize];
        assert!(entry.refs > 0, "only a held block is published");
        if entry.key.is_none() && !self.by_key.contains_key(&key) {
            entry.key = Some(key);
            self.by_key.insert(key, block);
        }
    }

    /// Takes the name away: nobody will share this content again.
    pub(crate) fn forget(&mut self, block: BlockId) {
        if let Some(key) = self.blocks[block.0 as usize].key.take() {
            self.by_key.remove(&key);
        }
    }

    /// Removes one owner; without owners a named block is cached, another one free.
    pub(crate) fn release(&mut self, block: BlockId) {
        let entry = &mut self.blocks[block.0 as usize];
        assert!(entry.refs > 0, "a released block is held");
        entry.refs -= 1;
        if entry.refs > 0 {
            return;
        }
        if entry.key.is_some() {
            self.link(block);
        } else {
            self.free.push(block);
        }
    }

    fn link(&mut self, BlockId(block): BlockId) {
        let older = std::mem::replace(&mut self.newest, block);
        self.blocks[block as usize].older = older;
        self.blocks[block as usize].newer = NONE;
        match older {
            NONE => self.oldest = block,
            older => self.blocks[older as usize].newer = block,
        }
        self.cached += 1;
    }

    fn unlink(&mut self, BlockId(block): BlockId) {
        let Block { older, newer, .. } = self.blocks[block as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.blocks[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.blocks[newer as usize].older = older,
        }
        self.cached -= 1;
    }

    /// Asserts that `owners` (one entry for each reference) and the books agree.
    pub(crate) fn audit(&self, owners: impl Iterator<Item = BlockId>) {
        let mut refs = vec![0; self.blocks.len()];
        for owner in owners {
            refs[owner.0 as usize] += 1;
        }
        for (block, expect) in self.blocks.iter().zip(&refs) {
            assert_eq!(block.refs, *expect, "a block counts its owners");
        }
        let mut idle = vec![0; self.blocks.len()];
        for block in &self.free {
            idle[block.0 as usize] += 1;
            assert!(self.blocks[block.0 as usize].key.is_none(), "a free block has no name");
        }
        let mut at = self.oldest;
        while at != NONE {
            idle[at as usize] += 1;
            assert!(self.blocks[at as usize].key.is_some(), "a cached block has a name");
            at = self.blocks[at as usize].newer;
        }
        for (refs, idle) in refs.iter().zip(&idle) {
            assert_eq!(*idle, u32::from(*refs == 0), "a block is used, cached or free");
        }
        for (key, block) in &self.by_key {
            assert_eq!(self.blocks[block.0 as usize].key, Some(*key), "names point both ways");
        }
        let named = self.blocks.iter().filter(|b| b.key.is_some()).count();
        assert_eq!(named, self.by_key.len(), "every name can be found");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key::root([0, 0], n, 0, 0)
    }

    fn pool() -> Blocks {
        Blocks::new(Kv { blocks: 3, block_tokens: 4 })
    }

    #[test]
    fn least_recently_released_content_goes_first() {
        let mut pool = pool();
        let held: Vec<_> = (0..3).map(|_| pool.take().expect("three blocks")).collect();
        assert_eq!(pool.take(), None);
        for (n, block) in held.iter().enumerate() {
            pool.publish(*block, key(n as u64));
        }
        for n in [1, 0, 2] {
            pool.release(held[n]);
        }
        assert_eq!((pool.used(), pool.cached(), pool.free()), (0, 3, 0));
        pool.share(held[1]);
        assert_eq!(pool.take(), Some(held[0]));
        assert_eq!((pool.find(key(0)), pool.find(key(2))), (None, Some(held[2])));
        pool.audit([held[0], held[1]].into_iter());
    }

    #[test]
    fn a_shared_block_is_idle_after_its_last_owner() {
        let mut pool = pool();
        let block = pool.take().expect("a block");
        pool.publish(block, key(1));
        pool.share(block);
        pool.release(block);
        assert_eq!((pool.used(), pool.cached()), (1, 0));
        pool.release(block);
        assert_eq!((pool.used(), pool.cached()), (0, 1));
        pool.audit([].into_iter());
    }

    #[test]
    fn a_forgotten_block_is_free_and_a_name_belongs_to_the_first() {
        let mut pool = pool();
        let (a, b) = (pool.take().expect("a block"), pool.take().expect("a block"));
        pool.publish(a, key(1));
        pool.publish(b, key(1));
        assert_eq!(pool.find(key(1)), Some(a));
        pool.release(b);
        pool.forget(a);
        pool.release(a);
        assert_eq!((pool.find(key(1)), pool.free()), (None, 3));
        pool.audit([].into_iter());
    }
}
