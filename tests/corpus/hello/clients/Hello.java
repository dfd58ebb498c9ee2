import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;

/** Sends one hello: {@code Hello HOST PORT [http|PROTOCOL…]}; `http` means java.net.http with the hosts file. */
public final class Hello {
    public static void main(String[] args) throws Exception {
        String host = args[0];
        int port = Integer.parseInt(args[1]);
        if (args.length > 2 && args[2].equals("http")) {
            HttpRequest request = HttpRequest.newBuilder(URI.create("https://" + host + ":" + port + "/")).build();
            HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding());
            return;
        }
        try (Socket tcp = new Socket()) {
            tcp.connect(new InetSocketAddress("127.0.0.1", port));
            SSLSocket tls = (SSLSocket) SSLContext.getDefault().getSocketFactory().createSocket(tcp, host, port, true);
            SSLParameters parameters = tls.getSSLParameters();
            parameters.setServerNames(List.of(new SNIHostName(host)));
            if (args.length > 2) {
                parameters.setProtocols(List.of(args).subList(2, args.length).toArray(String[]::new));
            }
            tls.setSSLParameters(parameters);
            tls.startHandshake();
        }
    }
}
