<<<<<<< .merge_file_1NBBzI
//! Placeholder.

pub mod mock;
=======
//! The assistiv gateway as a server.

pub mod config;
>>>>>>> .merge_file_DtcaDh
