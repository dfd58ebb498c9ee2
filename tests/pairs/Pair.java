import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** One side of a pair, with Java's SSLSocket, or for talk=http its HttpClient. Words and lines as in pair.py; groups are a property of Java's own. */
public final class Pair {
    private static Map<String, String> words = new HashMap<>();

    public static void main(String[] args) throws Exception {
        int positional = args[0].equals("server") ? 2 : 3;
        for (String word : List.of(args).subList(positional, args.length)) {
            words.put(word.substring(0, word.indexOf('=')), word.substring(word.indexOf('=') + 1));
        }
        SSLContext context = context();
        if (args[0].equals("server")) {
            serve(context, Integer.parseInt(args[1]));
            return;
        }
        if (words.getOrDefault("talk", "").equals("http")) {
            get(context, args[2]);
            return;
        }
        for (int left = Integer.parseInt(words.getOrDefault("times", "1")); left > 0; left--) {
            call(context, args[1], args[2]);
        }
    }

    private static SSLContext context() throws Exception {
        CertificateFactory certificates = CertificateFactory.getInstance("X.509");
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        try (InputStream file = new FileInputStream(words.get("ca"))) {
            trusted.setCertificateEntry("ca", certificates.generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        KeyStore own = KeyStore.getInstance("PKCS12");
        own.load(null, null);
        if (words.containsKey("cert")) {
            String pem = Files.readString(Path.of(words.get("key"))).replaceAll("-----[A-Z ]*-----|\\s", "");
            PKCS8EncodedKeySpec encoded = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem));
            try (InputStream file = new FileInputStream(words.get("cert"))) {
                Certificate[] chain = {certificates.generateCertificate(file)};
                own.setKeyEntry("own", KeyFactory.getInstance("EC").generatePrivate(encoded), new char[0], chain);
            }
        }
        keys.init(own, new char[0]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    private static void prepare(SSLSocket tls, SSLParameters parameters) {
        if (words.containsKey("tls")) {
            String version = words.get("tls");
            parameters.setProtocols(new String[] {version.equals("1.0") ? "TLSv1" : "TLSv" + version});
        }
        if (words.containsKey("alpn")) {
            parameters.setApplicationProtocols(words.get("alpn").split(","));
        }
        tls.setSSLParameters(parameters);
    }

    private static void serve(SSLContext context, int port) throws Exception {
        try (ServerSocket listener = new ServerSocket(port, 64)) {
            while (true) {
                Socket tcp = listener.accept();
                new Thread(() -> attend(context, tcp)).start();
            }
        }
    }

    private static void attend(SSLContext context, Socket tcp) {
        try (Socket outer = tcp) {
            SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(tcp, null, true);
            SSLParameters parameters = tls.getSSLParameters();
            parameters.setNeedClientAuth(words.getOrDefault("verify", "").equals("yes"));
            prepare(tls, parameters);
            tls.startHandshake();
            InputStream in = new BufferedInputStream(tls.getInputStream());
            for (byte[] line = line(in); line != null; line = line(in)) {
                tls.getOutputStream().write(reversed(line));
            }
            facts(tls);
            finish(tls, tcp);
        } catch (IOException error) {
            System.out.println("broken: " + error);
        }
    }

    private static void call(SSLContext context, String address, String host) throws Exception {
        try (Socket tcp = new Socket()) {
            tcp.connect(new InetSocketAddress(address, 443));
            SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(tcp, host, 443, true);
            SSLParameters parameters = tls.getSSLParameters();
            parameters.setServerNames(List.of(new SNIHostName(host)));
            prepare(tls, parameters);
            byte[] line = "ping".repeat(Integer.parseInt(words.getOrDefault("bytes", "4")) / 4).concat("\n").getBytes();
            tls.getOutputStream().write(line);
            byte[] heard = line(new BufferedInputStream(tls.getInputStream()));
            byte[] expected = words.getOrDefault("talk", "reverse").equals("echo") ? line : reversed(line);
            if (!Arrays.equals(heard, expected)) {
                throw new EOFException("heard something else");
            }
            facts(tls);
            finish(tls, tcp);
        }
    }

    /** By java.net.http and the resolver, as programs do. */
    private static void get(SSLContext context, String host) throws Exception {
        HttpClient client = HttpClient.newBuilder().sslContext(context).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create("https://" + host + "/")).build();
        HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
        String version = response.sslSession().map(SSLSession::getProtocol).orElse("-");
        System.out.println("facts: version=" + version + " http=" + response.version() + " " + response.body().trim());
    }

    /** Says close_notify, and waits for the other side's end: closing at once could be a reset. */
    private static void finish(SSLSocket tls, Socket tcp) throws IOException {
        tls.shutdownOutput();
        while (tls.getInputStream().read() >= 0) {
            // Nothing more is expected.
        }
    }

    /** The next line with its end, or null. */
    private static byte[] line(InputStream in) throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int letter = in.read(); letter >= 0; letter = in.read()) {
            line.write(letter);
            if (letter == '\n') {
                return line.toByteArray();
            }
        }
        return null;
    }

    private static byte[] reversed(byte[] line) {
        byte[] back = new byte[line.length];
        for (int at = 0; at < line.length - 1; at++) {
            back[line.length - 2 - at] = line[at];
        }
        back[line.length - 1] = '\n';
        return back;
    }

    private static void facts(SSLSocket tls) {
        String line = "facts: version=" + tls.getSession().getProtocol() + " cipher=" + tls.getSession().getCipherSuite();
        if (tls.getApplicationProtocol() != null && !tls.getApplicationProtocol().isEmpty()) {
            line += " alpn=" + tls.getApplicationProtocol();
        }
        try {
            X509Certificate peer = (X509Certificate) tls.getSession().getPeerCertificates()[0];
            line += " certificate=" + peer.getSubjectX500Principal().getName();
        } catch (SSLPeerUnverifiedException none) {
            // Most clients have none.
        }
        System.out.println(line);
    }
}
