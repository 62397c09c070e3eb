/** Of the VIPs and of the pods alike. */
export const HTTP_PORT = 80
/** iperf3's own. */
export const IPERF_PORT = 5201
