//! What the protocol promises, on a model of the servers, and that the servers do what the model does.

mod cases;
mod clear;
mod differential;
mod explorer;
mod ghost;
mod load;
mod model;
mod world;
