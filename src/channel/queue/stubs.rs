use super::*;
use crate::channel::snapshot::*;
impl MessageQueue {
    pub fn set_planted(&mut self, _: crate::planted::Planted) {}
    pub fn snapshot(&self) -> Position { Position }
    pub fn next_pieces(&self, _: &mut Position, _: usize, _: Now, _: &mut Vec<Piece>) {}
    pub fn install(&mut self, _: Staged, _: Now) -> bool { true }
    pub fn all_known(&self) -> VersionVector { self.head.clone() }
    pub fn retire_dead(&mut self, _: impl Fn(Origin) -> bool, _: Now) {}
    pub fn known(&self, o: Origin) -> u64 { self.head.seq(o) }
}
