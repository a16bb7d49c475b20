package ami_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A row is something that Packer's amazon builders handle or get wrong, or that
// touchdown promises of instances, volumes, images and key pairs, and the tests
// that fail without bake's handling of it. A test of another package has the
// package's folder before it, below steps/amazon unless it begins with /; a
// script of testdata/script has its file's name.
type row struct{ what, tests string }

// handled are the edge cases that Packer's amazon builders handle.
func handled() []row {
	return []row{
		{"throttling goes on far beyond the SDK's three attempts and its budget", "TestThrottledPollsGoOn TestFaultAtEveryCallOfAWS .TestThrottledCallsAreMadeAgain .TestWhatIsCalledAgain"},
		{"lookups that fail are made again", "TestAReadThatFailsSomeTimesIsMadeAgain TestFaultAtEveryCallOfAWS"},
		{"what was just made is not seen by reads", "TestWhatWasJustMadeMayNotBeSeenAtFirst image.TestNewImagesMayBeUnknownForSomeReads .TestWhatIsHiddenAtFirstIsWaitedFor"},
		{"what was just made is not known to stop, tag, attach, authorize, start, copy, share", "TestWhatWasJustMadeMayNotBeKnownToCallsThatChangeIt launch.TestWhatIsNotThereIsWaitedForOnlyIfItWasJustMade"},
		{"a security group and an instance profile reach EC2 late", "TestWhatWasJustMadeMayNotBeKnownToCallsThatChangeIt launch.TestWhatIsNotThereIsWaitedForOnlyIfItWasJustMade"},
		{"predicates of what is called again", ".TestWhatIsCalledAgain launch.TestEveryCodeOfNoRoomFallsToTheNextTry launch.TestAnErrorThatIsNotOfCapacityIsNotTriedElsewhere"},
		{"an instance that CreateImage thinks is not in the state", "TestWhatWasJustMadeMayNotBeKnownToCallsThatChangeIt"},
		{"no default VPC, VPCIdNotSpecified", "TestNoDefaultVPCIsTold .TestWhatHasNoNetworkIsToldToNameASubnet"},
		{"an instance that dies while it is pending tells why", "TestAnInstanceThatDiesWhilePendingTellsWhyOrIsStartedElsewhere TestAKMSKeyThatIsDisabledMeanwhileIsToldByWhatFails"},
		{"a denial is decoded by STS", ".TestADenialOfEveryServiceNamesTheStatementToAdd .TestADenialThatMayNotBeDecodedIsReadAsItStands .TestAnExplicitDenialOfEveryServiceIsSaidToBeOne"},
		{"a removal that is denied at first", "TestACandidateWhoseRemovalIsDeniedAtFirstIsRemoved image.TestWhatIsDeniedAtFirstIsRemovedAllTheSame"},
		// Tags cannot be set in the creating call in China and GovCloud, says the
		// builder. They can since 5 July 2018 (AWS, "Tag-on-create for Amazon EC2 and
		// Amazon EBS"; hashicorp/packer#6604), and since 2020 for key pairs and groups.
		{"tags in cn- and us-gov-, in the creating call as everywhere", "TestTagsAreGivenAtBirthInEveryPartition"},
		{"what other partitions call things", "TestNamesOfAPartition"},
		{"credits of burstable types are said, and of no others", "launch.TestCreditsAreSaidOfBurstableTypesAlone launch.TestTheCallSaysWhatTheTemplateSays"},
		{"a subnet has to offer the type", "launch.TestASubnetHasToOfferTheType"},
		{"offerings that the caller may not ask for", "launch.TestACallerWhoMayNotAskForOfferingsTriesEverySubnet"},
		{"a public address that is not there at first, or never", "TestAPublicAddressThatComesLateIsWaitedFor TestAPublicAddressThatDoesNotComeIsDoneWithout TestAnAddressThatIsAskedForAndDoesNotComeIsTold"},
		{"volumes of the source image that would outlive the instance", "launch.TestDevicesOfABuildMachineGoWithIt"},
		{"spot pools without room are passed over when another has some", "launch.TestSpotWithoutRoomFallsToOnDemandUnlessToldNotTo launch.TestTriesGoThroughAllZonesOfATypeBeforeTheNextAndSpotBeforeOnDemand"},
		{"the spot request is tagged, its devices are whole", "launch.TestTheCallSaysWhatTheTemplateSays launch.TestASpotInstanceIsTaggedWithItsRequestAndMayLeaveDevicesOut"},
		{"a spot instance cannot be stopped", "TestWhatTheTemplateAsksOfTheMachineIsThere"},
		{"copies: each region once, none at home", "image.TestValidateTellsWhatAWSWouldRefuse TestFaultAtEveryCallOfAWS"},
		{"copies have the tags, and a key for each region", "image.TestEachCopyHasItsKeyAndItsWords image.TestASecondRunChangesNothing"},
		{"what is encrypted stays so", "image.TestValidateTellsWhatAWSWouldRefuse launch.TestDevicesThatDoNotFitTheImage"},
		{"AWS's own key is not shared", "image.TestAnImageUnderAWSsOwnKeyIsNotSharedAndWhyIsTold"},
		{"forms of a KMS key's name", "image.TestWhatNamesAKMSKey image.TestValidateTellsWhatAWSWouldRefuse"},
		{"one attribute for each ModifyImageAttribute", "image.TestASecondRunChangesNothing"},
		{"user data that is in base64 already", "launch.TestUserDataIsMergedWithBakesOwn launch.TestUserDataComesFromATextAFileOrATemplate"},
		{"a key of EC2 Instance Connect is good for a minute: sent before each login", "TestAPushedKeyIsSentBeforeEachLogin"},
		{"a session that ends is begun anew, one whose WebSocket breaks goes on", "TestABuildGoesThroughSessionManagerWithTheRightsOfARole session.TestSSHGoesThroughASessionAndOutlivesItsWebSocket"},
		{"the agent is not there yet", "TestABuildGoesThroughSessionManagerWithTheRightsOfARole session.TestAnAgentThatIsNotThereYetIsAnErrorOfItsOwn"},
		{"the instance is gone: the session is terminated", "TestAMachineThatEndsUnderAStepTellsWhy session.TestASessionEndsWithItsInstance"},
		{"SSH: a refused login is final, unless the machine is fresh; all else is tried again", "/steps/ssh.TestOnlyARefusedLoginIsFinal /steps/ssh.TestALoginThatIsRefusedAtFirstIsTriedAgainOnAFreshMachine"},
		{"SSH: a broken connection is replaced for the next command", "/steps/ssh.TestACommandAfterALostConnectionGetsAnother /steps/ssh.TestAnErrorWithoutExitStatusIsNotSuccess"},
		{"SSH: a way that gives no connection is an error, and tried again", "/steps/ssh.TestOnlyARefusedLoginIsFinal"},
		{"SSH: a handshake has its time", "/steps/ssh.TestAServerThatTakesConnectionsAndIsSilentIsGivenUp"},
		{"SSH: a disconnect is no exit status", "/steps/ssh.TestAnErrorWithoutExitStatusIsNotSuccess TestAMachineThatEndsUnderAStepTellsWhy"},
	}
}

// wrong is what Packer's builders get wrong.
func wrong() []row {
	return []row{
		{"a build that is cancelled or killed while an image or a copy is made", "TestABuildThatIsCancelledWhileItsImageIsMadeLeavesNone TestKilledAtEveryCallOfAWS image.TestAKillAtAnyCallLosesNothingAndLeavesNothing"},
		{"a wait that takes too long", "TestAnImageThatTakesTooLongIsNamedAndFoundByTheResume"},
		{"an image or a copy that fails tells AWS's reason", "TestWhatAWSFailsToMakeIsToldRemovedAndMadeByTheNextRun image.TestACopyThatComesToNothingTellsWhyAndIsMadeByTheNextRun"},
		{"a key that cannot be used is told beforehand", "image.TestAKeyThatCannotBeUsedIsToldBeforeAnythingIsCopied"},
		{"no capacity: other types, zones and markets, at once", "TestATypeWithoutCapacityFallsToTheNext TestNoCapacityAnywhereTellsEachTry launch.TestEveryCodeOfNoRoomFallsToTheNextTry"},
		{"the metadata service can be disabled, alone or not with its tags", "launch.TestTheCallSaysWhatTheTemplateSays launch.TestWhatContradictsItselfIsRefused"},
		{"spot: a refused call, devices left out or ephemeral", "launch.TestSpotWithoutRoomFallsToOnDemandUnlessToldNotTo launch.TestASpotInstanceIsTaggedWithItsRequestAndMayLeaveDevicesOut"},
		{"the filters of a VPC have an effect", "launch.TestSubnetsAreFoundByIDByFilterAndByTheirVPC"},
		{"a machine is looked after with few calls", ".TestAGuardAsksSeldomAndEndsWithTheError TestARunAsksForNothingTwice"},
		{"an unknown end is not success", "/steps/ssh.TestAnErrorWithoutExitStatusIsNotSuccess"},
		{"cancel and timeout end what runs on the machine", "/steps/ssh.TestCommunicatorKeepsItsContract /steps/ssh.TestCancelWithSudoLeavesNoProcess"},
		{"environment in no file that is to be removed", "/steps/ssh.TestCommunicatorKeepsItsContract /internal/shell.TestEnvironmentTravelsWithoutBeingAnArgument"},
		{"a group and a role that cannot be deleted at once", "TestWhatWasJustMadeMayNotBeKnownToCallsThatChangeIt"},
		{"names of temporary things do not meet", "TestFaultAtEveryCallOfAWS TestKilledAtEveryCallOfAWS"},
	}
}

// promised is what touchdown promises, and what its promises take.
func promised() []row {
	return []row{
		// Instance.
		{"tags at birth: instance, volumes, interfaces", "TestTagsAreGivenAtBirthInEveryPartition launch.TestTheCallSaysWhatTheTemplateSays TestTheBuildMachineIsAsSafeAsItCanBe"},
		{"ami: id, name and owner, SSM parameter", "TestTheNewestImageThatCanBeUsedIsChosen TestASearchAsksForWhatCanBeUsed TestATemplateThatCannotWorkIsRefusedBeforeAnythingIsMade"},
		{"the image that was found is named", "TestThePlanNamesTheImageThatWasFound"},
		{"instance types: fallbacks, spot, architecture", "launch.TestTriesGoThroughAllZonesOfATypeBeforeTheNextAndSpotBeforeOnDemand launch.TestTheTypeFitsTheImageAlsoWhereTheTemplateNamesNone instance.TestATypeWithoutRoomFallsToTheNext"},
		{"key pair: named, imported, or temporary", "TestATemplateThatCannotWorkIsRefusedBeforeAnythingIsMade TestTheKeyOfTheTemplatesKeyPairDoesNotStayInTheImage TestTheBuildMachineIsAsSafeAsItCanBe"},
		{"instance profile: name, ARN, temporary, IAM's lag", "launch.TestTheCallSaysWhatTheTemplateSays TestWhatTheTemplateAsksOfTheMachineIsThere TestWhatWasJustMadeMayNotBeKnownToCallsThatChangeIt"},
		{"block devices", "launch.TestDevicesOfABuildMachineGoWithIt launch.TestVolumesAreHeldAgainstTheLimitsOfTheirType launch.TestDevicesThatDoNotFitTheImage"},
		{"subnets by id, filter, default VPC", "launch.TestSubnetsAreFoundByIDByFilterAndByTheirVPC launch.TestASubnetHasToOfferTheType"},
		{"network interfaces and their device indexes, public address on and off", "launch.TestTheCallSaysWhatTheTemplateSays launch.TestWhatContradictsItselfIsRefused"},
		{"which address is connected to", "TestTheTemplateSaysWhichAddressIsConnectedTo"},
		{"IPv6", "TestAMachineIsBakedAtItsIPv6AddressAndTheGroupLetsThatInAlone launch.TestTheCallSaysWhatTheTemplateSays"},
		{"ways to a private machine", "TestABuildGoesThroughSessionManagerWithTheRightsOfARole TestABuildGoesThroughAnInstanceConnectEndpoint TestABuildGoesThroughABastion"},
		{"security groups: given, or one that lets in the caller", "launch.TestSecurityGroupsAreFoundByIDByNameAndByTag TestTheBuildMachineIsAsSafeAsItCanBe"},
		{"user data: text, file, template, compressed, 16 KB", "launch.TestUserDataComesFromATextAFileOrATemplate launch.TestUserDataIsCompressedWhenItMustAndRefusedWhenItDoesNotFit TestUserDataThatCannotBeSentIsRefusedWithItsPlace launch.TestTheUsersCloudConfigAddsToBakes"},
		{"console output and state when it fails", "TestAMachineThatDoesNotAnswerShowsItsConsole TestAMachineThatEndsUnderAStepTellsWhy"},
		{"a look inside: bake ssh, --on-error keep", "failure.txtar /builder.TestFailureKeptForALookInside"},
		// Volume.
		{"sizes, types, IOPS, checked when the template is read", "launch.TestVolumesAreHeldAgainstTheLimitsOfTheirType volume.TestWhatNoTypeTakesIsRefusedBeforeAnyCall"},
		{"a key means encrypted", "launch.TestDevicesOfABuildMachineGoWithIt"},
		{"made once, waited for, changed in place", "volume.TestAVolumeIsMadeOnceAndChangedInPlace volume.TestALostAnswerMakesNoSecondVolume"},
		{"attached, detached, moved", "volume.TestAVolumeIsAttachedAndMovedOnlyWhenAskedFor"},
		{"volumes of the build alone: deleted, kept, a snapshot", "TestWhatTheTemplateAsksOfTheMachineIsThere TestAnExtraVolumeIsKept"},
		// Image.
		{"name: charset, length, taken, replaced, kept", "image.TestValidateTellsWhatAWSWouldRefuse image.TestATakenNameIsRefusedWithWhoHasIt image.TestReplaceMakesTheNewImageAndRemovesTheOldOne image.TestKeepReturnsTheImageThatHasTheName"},
		{"description is sent and kept up to date", "image.TestASecondRunChangesNothing image.TestWhatIsTakenOutOfTheTemplateIsRemoved image.TestEachCopyHasItsKeyAndItsWords"},
		{"source: deprecated ones refused, fingerprint in tags", "TestTheNewestImageThatCanBeUsedIsChosen image.TestASecondRunChangesNothing"},
		{"a type of the day for the architecture", "launch.TestTheTypeFitsTheImageAlsoWhereTheTemplateNamesNone"},
		{"user: inferred, and the right one told", "TestTheImageTellsWhoLogsIn /steps/ssh.TestAMachineThatWantsAnotherUserNamesIt"},
		{"steps of every kind, with check mode, retries, timeouts", "/provisioners.TestEveryKindWorksOnABusyboxMachine /provisioners.TestEveryKindWorksWithOtherTools /steps/ssh.TestEveryKindOfStepWorks /builder.TestRetryAndContinueAndTimeout"},
		{"reboot", "/steps/ssh.TestRebootProvesThatTheMachineStartedAnew TestTheDeadManTimerIsSetAgainAfterAReboot"},
		{"keys forwarded to the machine, only if asked for", "/steps/ssh.TestForwardedKeysAreUsedOnTheMachineAndStayHere TestKeysForStepsAreForwarded"},
		{"launch permissions are added and removed on every run, snapshots with them", "image.TestWhatIsTakenOutOfTheTemplateIsRemoved image.TestASecondRunChangesNothing image.TestAnAccountThatBlocksPublicImagesIsNamed"},
		{"grants of keys", "image.TestAnEncryptedImageIsSharedWithItsKeyInEachRegionAndTakenBackWithIt"},
		{"tags of image and snapshots at birth, updated later", "TestTagsAreGivenAtBirthInEveryPartition image.TestWhatIsTakenOutOfTheTemplateIsRemoved"},
		{"copies in regions and accounts: tokens, keys, permissions, tags", "TestCreatingCallsCarryTheTokenOfTheJournal image.TestEachCopyHasItsKeyAndItsWords image.TestACopyInAnotherAccountIsItsOwnAndNothingStaysShared"},
		{"temporary things: journal, tags, reaper, timer", "TestKilledAtEveryCallOfAWS TestCrashAtEveryWriteOfTheJournal TestLeftoversAreFoundByTheirTagsInEveryRegion TestTheDeadManTimerIsSetAgainAfterAReboot"},
		{"destroying: copies, snapshots, uses, protection", "image.TestDestroyFindsAnImageWithItsCopiesAndItsOtherNames image.TestDestroyTellsWhatUsesAnImageAndHonoursItsProtection image.TestDestroyLeavesASnapshotThatAnotherImageHas"},
		{"what is made is not made again", "TestABuildLeavesItsImageAndASecondOneMakesNothing"},
		// Key pair.
		{"imported, kept up to date, deleted", "keypair.TestAKeyPairIsImportedOnceAndReplacedWhenItsMaterialDiffers keypair.TestTheKeyringListsShowsAndDeletes"},
		{"fingerprints", "keypair.TestFingerprintsAreThoseThatEC2Shows keypair.TestWithoutItsMaterialTheFingerprintDecides"},
		{"every form of a key, files too", "keypair.TestAPublicKeyIsDerivedFromEveryFormOfAPrivateOne keypair.TestWhatEC2DoesNotTakeIsRefusedBeforeItIsAsked"},
		// What touchdown gets wrong.
		{"other accounts' images do not count", "TestAnotherAccountsImageOfTheNameAndTagsIsNobodysBusiness image.TestAnotherAccountsPublicImageOfTheNameIsNotLookedAt"},
		{"images that failed or are pending do not count", "TestAnImageThatFailedAfterACrashIsNotCountedAndTheNextRunMakesItAnew image.TestAFailedCopyOfAnEarlierRunIsRemovedAndMadeAnew image.TestACopyThatAKilledRunHasBegunIsUsedByTheNext"},
		{"permissions of groups, organizations and units are read", "image.TestASecondRunChangesNothing image.TestWhatIsTakenOutOfTheTemplateIsRemoved image.TestAnAccountThatBlocksPublicImagesIsNamed"},
		{"an instance on its way out is none, a stopped one is started", "instance.TestAnInstanceThatWasStoppedIsStartedAgain instance.TestAnInstanceThatIsEndingIsNone"},
		{"nothing to do is success", "TestABuildLeavesItsImageAndASecondOneMakesNothing image.TestASecondRunChangesNothing"},
		{"a denial is not absence", "keypair.TestADenialIsNotTakenForAbsence TestADenialIsNotTakenForAbsence"},
	}
}

// TestEveryRowNamesTestsThatAreThere keeps the rows from speaking of what was
// renamed or removed.
func TestEveryRowNamesTestsThatAreThere(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{} // by folder
	for _, r := range slices.Concat(handled(), wrong(), promised()) {
		if len(strings.Fields(r.tests)) == 0 {
			t.Errorf("%s: no test", r.what)
		}
		for _, name := range strings.Fields(r.tests) {
			if strings.HasSuffix(name, ".txtar") {
				if _, err := os.Stat(filepath.Join(root, "testdata/script", name)); err != nil {
					t.Errorf("%s: %v", r.what, err)
				}
				continue
			}
			folder, test := "steps/amazon/ami", name
			if at := strings.LastIndex(name, "."); at >= 0 {
				folder, test = filepath.Join("steps/amazon", name[:at]), name[at+1:]
				if strings.HasPrefix(name, "/") {
					folder = name[1:at]
				}
			}
			if known[folder] == nil {
				known[folder] = testsOf(t, filepath.Join(root, folder))
			}
			if !slices.Contains(known[folder], test) {
				t.Errorf("%s: there is no %s in %s", r.what, test, folder)
			}
		}
	}
}

// testsOf returns the names of a folder's tests, on any system.
func testsOf(t *testing.T, folder string) []string {
	t.Helper()
	all := []string{}
	files, err := fs.Glob(os.DirFS(folder), "*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, f), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				all = append(all, fn.Name.Name)
			}
		}
	}
	return all
}
