//! What a message costs on its way through the rooms, without sockets: `cargo bench --bench fanout`.
//!
//! Each line races Weir against the least that could be done for the same result, turn by turn in one run: machines
//! drift, and a ratio does not. Nothing is asserted: read the table before and after a change.

#[path = "fanout/count.rs"]
mod count;
#[path = "fanout/race.rs"]
mod race;
#[path = "fanout/rows.rs"]
mod rows;

#[global_allocator]
static ALLOCATOR: count::Counting = count::Counting;

fn main() {
    // `cargo test --benches` runs this too, to see that it still works.
    let quick = std::env::args().any(|a| a == "--test");
    race::set_quick(quick);
    println!("{:<58}{:>10}{:>10}{:>8}", "", "weir ns", "least ns", "ratio");
    rows::read();
    rows::decide();
    rows::fan_out();
    rows::decode();
    rows::encode();
    rows::memory();
}
