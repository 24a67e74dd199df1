/* Says what a WSAMSG holds, by the macros of the headers. */
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <stdio.h>

static int hex(char *out, const void *data, size_t length) {
    for (size_t i = 0; i < length; i++) sprintf(out + 2 * i, "%02x", ((const unsigned char *)data)[i]);
    return (int)(2 * length);
}

__declspec(dllexport) void describe(WSAMSG *message, char *out) {
    out += sprintf(out, "to ");
    out += hex(out, message->name, message->namelen);
    for (DWORD i = 0; i < message->dwBufferCount; i++) {
        out += sprintf(out, "\ndata ");
        out += hex(out, message->lpBuffers[i].buf, message->lpBuffers[i].len);
    }
    for (WSACMSGHDR *header = WSA_CMSG_FIRSTHDR(message); header; header = WSA_CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO
            && header->cmsg_len == WSA_CMSG_LEN(sizeof(IN_PKTINFO))) {
            IN_PKTINFO *info = (IN_PKTINFO *)WSA_CMSG_DATA(header);
            out += sprintf(out, "\nIN_PKTINFO %lu ", (unsigned long)info->ipi_ifindex);
            out += hex(out, &info->ipi_addr, sizeof(info->ipi_addr));
        } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO
                   && header->cmsg_len == WSA_CMSG_LEN(sizeof(IN6_PKTINFO))) {
            IN6_PKTINFO *info = (IN6_PKTINFO *)WSA_CMSG_DATA(header);
            out += sprintf(out, "\nIN6_PKTINFO %lu ", (unsigned long)info->ipi6_ifindex);
            out += hex(out, &info->ipi6_addr, sizeof(info->ipi6_addr));
        } else {
            out += sprintf(out, "\nunknown %d %d %d", header->cmsg_level, header->cmsg_type, (int)header->cmsg_len);
        }
    }
}
