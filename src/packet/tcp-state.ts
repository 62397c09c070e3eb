/** States of a TCP connection as connection tracking sees them (linux/netfilter/nf_conntrack_tcp.h). */
export const TcpState = {
  none: 0,
  synSent: 1,
  synReceived: 2,
  established: 3,
  finWait: 4,
  closeWait: 5,
  lastAck: 6,
  timeWait: 7,
  close: 8,
} as const

/** IP_CT_TCP_FLAG_CLOSE_INIT: this side has sent a FIN. */
export const TCP_FLAG_CLOSE_INIT = 4
