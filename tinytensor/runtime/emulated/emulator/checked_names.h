// Renames the functions of the checked core, since both it and the fast core are loaded in one process.
#pragma once
#define tt_emu_barrier tt_checked_barrier
#define tt_emu_sync_warp tt_checked_sync_warp
#define tt_emu_shuffle tt_checked_shuffle
#define tt_emu_ballot tt_checked_ballot
#define tt_emu_match tt_checked_match
#define tt_emu_reduce tt_checked_reduce
#define tt_emu_ldmatrix tt_checked_ldmatrix
#define tt_emu_mma tt_checked_mma
#define tt_emu_assert tt_checked_assert
#define tt_emu_trap tt_checked_trap
#define tt_emu_printf tt_checked_printf
#define tt_emu_load tt_checked_load
#define tt_emu_parameter tt_checked_parameter
#define tt_emu_keep_alone tt_checked_keep_alone
#define tt_emu_launch tt_checked_launch
#define tt_emu_report tt_checked_report
#define tt_emu_report_address tt_checked_report_address
#define tt_emu_set_order tt_checked_set_order
#define tt_emu_set_workers tt_checked_set_workers
#define tt_emu_enter_fiber tt_checked_enter_fiber
#define tt_emu_switch_stack tt_checked_switch_stack
