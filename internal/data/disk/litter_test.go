package disk

import "testing"

func TestLitterOfTheField(t *testing.T) {
	for _, name := range []string{
		"CVS", "Network Trash Folder", "Temporary Items", "found.000", "FOUND.001", "@Recycle", "thumbs.db:encryptable", "0.png:Zone.Identifier",
		"0.png@SynoEAStream", "Picasa.ini", ".stversions", "~$list.xlsx", "ZbThumbnail.info",
	} {
		if !IsLitter(name) {
			t.Errorf("%s is no litter", name)
		}
	}
	for _, name := range []string{"found", "found.1", "cvs2", "recycling", "items", "thumbs", "picasa"} {
		if IsLitter(name) {
			t.Errorf("%s is litter", name)
		}
	}
}
