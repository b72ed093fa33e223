mod calls;
mod faults;
mod functions;
mod imports;
mod limits;
mod support;
