//! A hub as its own connections see it: it asks homes for seats, gives them up, and hands publications on.

use super::{Hub, Join, Joined, Leave, Message, Out, Publication, Seat};
use crate::model::{Member, Now, Slot};

impl Hub {
    /// Asks for a seat; the answer is `Out::Joined` or `Out::Full`, now or after the home was heard.
    pub fn subscribe(&mut self, join: Box<Join>) {
        if join.home == self.me && self.is_plain(join.generation) {
            self.join(*join);
        } else if join.home == self.me {
            let now = join.now;
            self.admit(Message::Join(join), now);
        } else {
            self.out.push(Out::To { shard: join.home, message: Message::Join(join) });
        }
    }

    /// Takes the seat that a `Joined` offers. Returns the channel's number and the seat's index in it.
    pub fn sit(&mut self, joined: &Joined, slot: Slot, sub: u32) -> (u32, u32) {
        let class = self.class_now(joined.app, &joined.channel, joined.class, joined.generation);
        let number = self.table.number(joined.app, &joined.channel, class, self.home_of(joined));
        let channel = &mut self.table[number];
        channel.seats.push(Seat { slot, sub });
        let seat = channel.seats.len() as u32 - 1;
        self.measure(number, false);
        (number, seat)
    }

    /// Of a seat that was offered: files may have changed since.
    fn home_of(&self, joined: &Joined) -> u16 {
        let now = || self.home_now(joined.app, &joined.channel).unwrap_or(joined.home);
        if joined.generation == self.generation { joined.home } else { now() }
    }

    /// Gives up a seat that a `Joined` offered: its connection has gone meanwhile.
    pub fn decline(&mut self, joined: Joined, now: Now) {
        let home = self.home_of(&joined);
        let leave = Leave {
            app: joined.app,
            channel: joined.channel,
            generation: self.generation,
            shard: self.me,
            member: Member { connection: joined.connection, identity: joined.identity, joined_at: now.wall },
        };
        self.leave_home(home, leave, now);
    }

    /// Empties a seat. Returns the seat that took its place in the list, whose connection has to be told its new index.
    pub fn rise(&mut self, number: u32, index: u32, member: Member, now: Now) -> Option<Seat> {
        let channel = &mut self.table[number];
        channel.seats.swap_remove(index as usize);
        let moved = channel.seats.get(index as usize).copied();
        let (app, name, generation) = (channel.app, channel.name.clone(), self.generation);
        let leave = Leave { app, channel: name, generation, shard: self.me, member };
        let home = channel.home_shard;
        self.measure(number, false);
        self.leave_home(home, leave, now);
        self.drop_unused(number);
        moved
    }

    fn leave_home(&mut self, home: u16, leave: Leave, now: Now) {
        if home == self.me && self.is_plain(leave.generation) {
            self.leave(leave, now);
        } else if home == self.me {
            self.admit(Message::Leave(Box::new(leave)), now);
        } else {
            self.out.push(Out::To { shard: home, message: Message::Leave(Box::new(leave)) });
        }
    }

    /// Numbers an event and has it heard at the end of the tick; `home` as `home_of` said.
    pub fn publish(&mut self, home: u16, publication: Publication) {
        if home == self.me && self.is_plain(publication.generation) {
            self.sequence(publication);
        } else if home == self.me {
            let now = publication.event.at;
            self.admit(Message::Publish(Box::new(publication)), now);
        } else {
            self.out.push(Out::To { shard: home, message: Message::Publish(Box::new(publication)) });
        }
    }
}
