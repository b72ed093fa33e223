mod calls;
mod faults;
mod functions;
mod growth;
mod imports;
mod limits;
mod meter;
mod support;
