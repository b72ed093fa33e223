//! The connections of one kernel: by slot, by id, and those on their way out.

use super::conn::Conn;
use super::input::Client;
use crate::model::{ConnectionId, Slot};
use hashbrown::HashMap;
use slab::Slab;
use std::ops::{Index, IndexMut};

pub(super) struct Connections<T> {
    slots: Slab<Conn<T>>,
    by_id: HashMap<ConnectionId, Slot>,
    /// Closed in this tick: they give up their seats at its end.
    leaving: Vec<(Slot, ConnectionId)>,
    /// Their transports are done with, closed with this code: forgotten at the end of the tick.
    gone: Vec<(Slot, Option<u16>)>,
}

impl<T> Connections<T> {
    pub fn new() -> Connections<T> {
        Connections { slots: Slab::new(), by_id: HashMap::new(), leaving: Vec::new(), gone: Vec::new() }
    }

    /// Gives it its slot.
    pub fn insert(&mut self, conn: Conn<T>) -> Slot {
        let id = conn.session.id;
        let slot = self.slots.insert(conn) as Slot;
        self[slot].session.slot = slot;
        self.by_id.insert(id, slot);
        slot
    }

    pub fn remove(&mut self, slot: Slot) -> Conn<T> {
        let conn = self.slots.remove(slot as usize);
        self.by_id.remove(&conn.session.id);
        conn
    }

    pub fn get(&self, slot: Slot) -> Option<&Conn<T>> {
        self.slots.get(slot as usize)
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Conn<T>> {
        self.slots.get_mut(slot as usize)
    }

    pub fn find(&self, id: ConnectionId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// Whether the slot is still that connection's.
    pub fn is_same(&self, slot: Slot, id: ConnectionId) -> bool {
        self.get(slot).is_some_and(|c| c.session.id == id)
    }

    /// Whether it is still there, and open.
    pub fn is_open(&self, client: Client) -> bool {
        self.is_same(client.slot, client.id) && self[client.slot].is_open()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Conn<T>)> {
        self.slots.iter().map(|(slot, conn)| (slot as Slot, conn))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Conn<T>> {
        self.slots.iter_mut().map(|(_, conn)| conn)
    }

    /// Slots of those that pass.
    pub fn slots(&self, pass: impl Fn(&Conn<T>) -> bool) -> Vec<Slot> {
        self.iter().filter(|(_, conn)| pass(conn)).map(|(slot, _)| slot).collect()
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// It has begun to close: it gives up its seats at the end of the tick.
    pub fn leave_later(&mut self, slot: Slot) {
        let id = self[slot].session.id;
        self.leaving.push((slot, id));
    }

    /// Its transport is done with: it is forgotten at the end of the tick.
    pub fn forget_later(&mut self, slot: Slot, code: Option<u16>) {
        self.gone.push((slot, code));
    }

    pub fn take_leaving(&mut self) -> Vec<(Slot, ConnectionId)> {
        std::mem::take(&mut self.leaving)
    }

    pub fn take_gone(&mut self) -> Vec<(Slot, Option<u16>)> {
        std::mem::take(&mut self.gone)
    }

    /// Whether some are to be forgotten.
    pub fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }
}

impl<T> Index<Slot> for Connections<T> {
    type Output = Conn<T>;
    fn index(&self, slot: Slot) -> &Conn<T> {
        &self.slots[slot as usize]
    }
}

impl<T> IndexMut<Slot> for Connections<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut Conn<T> {
        &mut self.slots[slot as usize]
    }
}
