"""How one CondConv layer is computed: equal forms, and the selection of the fastest."""
