//! A map of few keys: one sorted list.
//!
//! What is counted in nodes of a cluster stands in one of these. A tree would cost several
//! kilobytes of program for each pair of types, and finds nothing sooner among so few.

/// Values by their keys, ascending. Taking one in or out moves those behind it.
#[derive(Clone, Debug)]
pub struct SortedMap<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap { entries: Vec::new() }
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.entries.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// A key's value.
    pub fn get(&self, key: &K) -> Option<&V> {
        let at = self.find(key).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// A key's value, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// A key's value, which is made if there is none.
    pub fn get_or_insert_with(&mut self, key: K, fresh: impl FnOnce() -> V) -> &mut V {
        let at = self.find(&key).unwrap_or_else(|at| {
            self.entries.insert(at, (key, fresh()));
            at
        });
        &mut self.entries[at].1
    }

    /// Sets a key's value.
    pub fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(at) => self.entries[at].1 = value,
            Err(at) => self.entries.insert(at, (key, value)),
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        Some(self.entries.remove(at).1)
    }

    /// Keeps only the entries of which that is true.
    pub fn retain(&mut self, mut keeps: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keeps(key, value));
    }

    /// The entries by their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The same, with values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// The values by their keys.
    pub fn into_values(self) -> impl Iterator<Item = V> {
        self.entries.into_iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is done to it, it holds what a tree would, in the same order.
        #[test]
        fn it_is_a_map_in_order(steps in prop::collection::vec((0..6_u8, 0..12_u8, any::<u16>()), 0..60)) {
            let (mut map, mut tree) = (SortedMap::default(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => {
                        map.insert(key, value);
                        tree.insert(key, value);
                    }
                    1 => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                    2 => prop_assert_eq!(
                        map.get_or_insert_with(key, || value),
                        tree.entry(key).or_insert(value)
                    ),
                    3 => prop_assert_eq!(map.get_mut(&key), tree.get_mut(&key)),
                    4 => {
                        map.retain(|other, _| *other % 4 != key % 4);
                        tree.retain(|other, _| *other % 4 != key % 4);
                    }
                    _ => map.iter_mut().zip(tree.iter_mut()).for_each(|(own, other)| {
                        (*own.1, *other.1) = (own.1.wrapping_add(value), other.1.wrapping_add(value));
                    }),
                }
                prop_assert_eq!(map.get(&key), tree.get(&key));
                prop_assert!(map.iter().eq(tree.iter()));
            }
            prop_assert!(map.into_values().eq(tree.into_values()));
        }
    }
}
