//! `dovetail bench compare`: the same workload followed in every way that there is, side by side.
//!
//! `figures` is what is found.

mod figures;
