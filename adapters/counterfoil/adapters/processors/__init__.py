"""Who moves money: one file each, behind `Processor`."""
