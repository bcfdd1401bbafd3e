"""Pipeline to Amaranth components to Verilog."""
