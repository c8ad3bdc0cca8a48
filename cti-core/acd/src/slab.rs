//! Values under small numbers, each kind of value with numbers of its own. The numbers never decide anything: after a
//! restart they are others.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// The number of a `T`.
pub(crate) struct Ix<T>(u32, PhantomData<fn() -> T>);

impl<T> Clone for Ix<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ix<T> {}

impl<T> PartialEq for Ix<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Ix<T> {}

impl<T> PartialOrd for Ix<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Ix<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> fmt::Debug for Ix<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(crate) struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, item: T) -> Ix<T> {
        let number = match self.free.pop() {
            Some(number) => {
                self.items[number as usize] = Some(item);
                number
            }
            None => {
                self.items.push(Some(item));
                (self.items.len() - 1) as u32
            }
        };
        Ix(number, PhantomData)
    }

    pub(crate) fn remove(&mut self, ix: Ix<T>) -> Option<T> {
        let item = self.items[ix.0 as usize].take();
        if item.is_some() {
            self.free.push(ix.0);
        }
        item
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ix<T>, &T)> {
        let numbered = self.items.iter().enumerate();
        numbered.filter_map(|(number, item)| Some((Ix(number as u32, PhantomData), item.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Ix<T>, &mut T)> {
        let numbered = self.items.iter_mut().enumerate();
        numbered.filter_map(|(number, item)| Some((Ix(number as u32, PhantomData), item.as_mut()?)))
    }
}

impl<T> Index<Ix<T>> for Slab<T> {
    type Output = T;

    fn index(&self, ix: Ix<T>) -> &T {
        self.items[ix.0 as usize].as_ref().expect("a number is given up with its value")
    }
}

impl<T> IndexMut<Ix<T>> for Slab<T> {
    fn index_mut(&mut self, ix: Ix<T>) -> &mut T {
        self.items[ix.0 as usize].as_mut().expect("a number is given up with its value")
    }
}
