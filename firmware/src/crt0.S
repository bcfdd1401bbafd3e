/* From reset to main: stack, trap vector, initialised data, zeroed data. */
    .section .text.start, "ax"
    .global _start
_start:
    csrw    mie, zero                   /* nothing interrupts this firmware */
    la      sp, _stack_end
    la      t0, trap_entry
    csrw    mtvec, t0

    la      t0, _data_start
    la      t1, _data_end
    la      t2, _data_rom
1:  bgeu    t0, t1, 2f
    lw      t3, 0(t2)
    sw      t3, 0(t0)
    addi    t0, t0, 4
    addi    t2, t2, 4
    j       1b

2:  la      t0, _bss_start
    la      t1, _bss_end
3:  bgeu    t0, t1, 4f
    sw      zero, 0(t0)
    addi    t0, t0, 4
    j       3b

4:  call    main
    j       _start

    .align  2
trap_entry:
    la      sp, _stack_end              /* whatever the stack was */
    csrr    a0, mcause
    csrr    a1, mepc
    csrr    a2, mtval
    call    trap
    j       _start
