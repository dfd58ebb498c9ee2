//! Places for connections, and the tokens by which epoll names them.

/// A place, as it was used for one connection: a later use of the same place has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// For epoll: the key, and which of the connection's two sockets.
    pub fn token(self, second: bool) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index) << 1 | u64::from(second)
    }

    /// The inverse of [`Key::token`].
    pub fn of_token(token: u64) -> (Self, bool) {
        let low = token & u64::from(u32::MAX);
        // Both halves fit by the mask and the shift.
        let narrow = |half: u64| u32::try_from(half).unwrap_or(u32::MAX);
        (Self { index: narrow(low >> 1), generation: narrow(token >> 32) }, low & 1 == 1)
    }
}

/// Connections by [`Key`]. A place that is free again is the next to be used.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    entry: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Takes a place; `make` learns its key.
    ///
    /// # Errors
    /// When `make` fails; the place is then free.
    pub fn insert<E>(&mut self, make: impl FnOnce(Key) -> Result<T, E>) -> Result<Key, E> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, entry: None });
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let generation = self.place(index).map_or(0, |place| place.generation);
        let key = Key { index, generation };
        match make(key) {
            Ok(entry) => {
                if let Some(place) = self.place(index) {
                    place.entry = Some(entry);
                }
                Ok(key)
            }
            Err(error) => {
                self.free.push(index);
                Err(error)
            }
        }
    }

    /// The entry, unless it has been removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.place(key.index).filter(|place| place.generation == key.generation)?.entry.as_mut()
    }

    /// Frees the place.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place(key.index).filter(|place| place.generation == key.generation)?;
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(entry)
    }

    /// All that are in use.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.places.iter_mut().zip(0..).filter_map(|(Place { generation, entry }, index)| {
            entry.as_mut().map(|entry| (Key { index, generation: *generation }, entry))
        })
    }

    fn place(&mut self, index: u32) -> Option<&mut Place<T>> {
        self.places.get_mut(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(slots: &mut Slots<char>, entry: char) -> Key {
        slots.insert(|_| Ok::<_, ()>(entry)).unwrap()
    }

    #[test]
    fn a_key_of_an_earlier_use_finds_nothing() {
        let mut slots = Slots::default();
        let first = insert(&mut slots, 'a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = insert(&mut slots, 'b');
        assert_ne!(first, second);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut 'b'));
    }

    #[test]
    fn a_place_that_was_not_filled_is_free() {
        let mut slots = Slots::default();
        assert_eq!(slots.insert(|_| Err("no")), Err("no"));
        insert(&mut slots, 'a');
        assert_eq!(slots.iter_mut().count(), 1);
        assert_eq!(slots.places.len(), 1);
    }

    #[test]
    fn a_token_reads_back() {
        let key = Key { index: 0x7fff_fffe, generation: u32::MAX };
        for second in [false, true] {
            assert_eq!(Key::of_token(key.token(second)), (key, second));
        }
    }
}
