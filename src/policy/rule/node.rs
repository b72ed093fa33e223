//! A compiled rule's tree.

use super::Reads;
use super::function::Function;

/// Line and column in the rule's text.
pub(super) type Spot = (u32, u32);

#[derive(Debug)]
pub(super) struct Node {
    pub at: Spot,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Const(Const),
    /// A wildcard of the pattern.
    Capture(usize),
    Now,
    UserId,
    UserKnown,
    UserRoles,
    UserClaim(Box<str>),
    /// `user[…]`
    UserAt(Box<Node>),
    Path,
    Ip,
    Facts(Facts, Box<Node>),
    /// `tables.NAME[KEY]`; `slot`: each look-up of a rule keeps its row until the verdict.
    Row {
        table: Box<str>,
        key: Box<Node>,
        slot: usize,
    },
    /// `of.key`, `of[key]`
    At {
        of: Box<Node>,
        key: Box<Node>,
    },
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    /// `a ?? b`: the first that is there.
    First(Vec<Node>),
    Compare(Comparison, Box<[Node; 2]>),
    /// `needle in place`
    Within(Box<Node>, Place),
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    Negate(Box<Node>),
    /// `` `a${b}c` ``
    Join(Vec<Node>),
    Call(Function, Vec<Node>),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Const {
    Bool(bool),
    /// Of 64 bits, with or without a sign.
    Int(i128),
    Float(f64),
    Text(Box<str>),
}

/// A part of the request that is looked into by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Facts {
    Query,
    Headers,
    Vars,
}

/// What `in` looks into.
#[derive(Debug)]
pub(super) enum Place {
    Value(Box<Node>),
    List(Vec<Node>),
    User,
    Facts(Facts),
    Table(Box<str>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Node {
    pub fn reads(&self) -> Reads {
        let mut reads = match &self.kind {
            Kind::Capture(_) => Reads::VARS,
            Kind::Now => Reads::NOW,
            Kind::UserId | Kind::UserKnown | Kind::UserRoles | Kind::UserClaim(_) | Kind::UserAt(_) => Reads::USER,
            Kind::Path | Kind::Ip | Kind::Facts(..) => Reads::REQUEST,
            Kind::Row { .. } => Reads::TABLES,
            Kind::Within(_, Place::User) => Reads::USER,
            Kind::Within(_, Place::Facts(_)) => Reads::REQUEST,
            Kind::Within(_, Place::Table(_)) => Reads::TABLES,
            _ => Reads::NOTHING,
        };
        self.each(&mut |child| reads = reads | child.reads());
        reads
    }

    /// Its children.
    pub(super) fn each<'n>(&'n self, with: &mut dyn FnMut(&'n Node)) {
        match &self.kind {
            Kind::Const(_) | Kind::Capture(_) | Kind::Now | Kind::Path | Kind::Ip => {}
            Kind::UserId | Kind::UserKnown | Kind::UserRoles | Kind::UserClaim(_) => {}
            Kind::UserAt(of) | Kind::Facts(_, of) | Kind::Row { key: of, .. } | Kind::Not(of) | Kind::Negate(of) => {
                with(of);
            }
            Kind::At { of, key } => {
                with(of);
                with(key);
            }
            Kind::And(of) | Kind::Or(of) | Kind::First(of) | Kind::Join(of) | Kind::Call(_, of) => {
                of.iter().for_each(with);
            }
            Kind::Compare(_, of) | Kind::Arithmetic(_, of) => of.iter().for_each(with),
            Kind::Within(needle, place) => {
                with(needle);
                match place {
                    Place::Value(of) => with(of),
                    Place::List(of) => of.iter().for_each(with),
                    Place::User | Place::Facts(_) | Place::Table(_) => {}
                }
            }
        }
    }

    /// What it always is, where that is not a boolean.
    pub fn never_boolean(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Const(Const::Bool(_)) => None,
            Kind::Const(Const::Int(_) | Const::Float(_)) | Kind::Now | Kind::Negate(_) => Some("a number"),
            // Of texts `+` makes a text; the other operators know numbers alone.
            Kind::Arithmetic(Arithmetic::Add, sides) => sides.iter().find_map(Node::never_boolean),
            Kind::Arithmetic(..) => Some("a number"),
            Kind::Const(Const::Text(_)) | Kind::Capture(_) | Kind::UserId | Kind::Path | Kind::Ip => Some("a text"),
            Kind::Facts(..) | Kind::Join(_) => Some("a text"),
            Kind::UserRoles => Some("a list"),
            Kind::Row { .. } => Some("a row"),
            Kind::Call(function, _) => function.never_boolean(),
            _ => None,
        }
    }
}
