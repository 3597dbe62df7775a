/// The ways to the service inside a middleware, the same for each of them.
macro_rules! inner_service_accessors {
    () => {
        /// The service inside.
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// The service inside.
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// The service inside.
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}
