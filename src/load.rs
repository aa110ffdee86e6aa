mod flight;
mod policy;
